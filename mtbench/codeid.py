"""The identity of plugin code that may change under the same version (editable installs, plugin files).

It is the sha256 over the plugin's own source files: the module of its hook, the module of its class, and what
these import from the folder that holds their top-level package, followed by reading import statements. Nothing
is imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path

from mtbench.discovery import Registered


def code_identity(registered: Registered) -> str | None:
    """The sha256 of the plugin's code, or ``None`` for an installed distribution, whose version says it."""
    plugin = registered.plugin
    if not plugin.editable:
        return None
    if plugin.path is not None:
        return hashlib.sha256(plugin.path.read_bytes()).hexdigest()
    factory = registered.spec.factory.partition(":")[0] or plugin.module
    return _identity(plugin.module, factory)


@cache
def _identity(*modules: str) -> str:
    top = modules[0].partition(".")[0]
    root = _root(top)
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        first = name.partition(".")[0]
        # Asked of the top-level package: looking for a sub-module would import what is above it.
        if name in seen or (first != top and (root is None or _root(first) != root)):
            continue
        path = _source(name)
        if path is None:
            continue
        content = path.read_bytes()
        seen[name] = hashlib.sha256(content).hexdigest()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(content, package)
    return hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()


@cache
def _root(top: str) -> Path | None:
    """The folder that a top-level module or package lies in."""
    path = _source(top)
    return None if path is None else path.parent.parent if path.name == "__init__.py" else path.parent


def _source(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    if file is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError):
            return None
        file = spec.origin if spec is not None else None
    path = Path(file) if file else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _imports(content: bytes, package: str) -> list[str]:
    try:
        tree = ast.parse(content)
    except SyntaxError:
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return names
