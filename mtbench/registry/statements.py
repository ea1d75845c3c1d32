"""The import statements of source files, read without importing anything."""

from __future__ import annotations

import ast


def imported_names(content: bytes) -> list[str]:
    """The modules that a source file imports anywhere, relative ones with dots; empty if it is not valid Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            join = "" if module.endswith(".") else "."
            names += [module, *(f"{module}{join}{alias.name}" for alias in node.names)]
    return names
