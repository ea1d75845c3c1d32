"""The identity of plugin code that may change under the same version (editable installs, plugin files).

It is the sha256 over the plugin's own source files: the module of its hook, the module of its class, and what
these import from the folder that holds their top-level package, followed by reading import statements. Nothing
is imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from mtbench.registry.basespec import Spec
from mtbench.registry.registry import Registration


def code_identity(registration: Registration[Spec[Any]]) -> str | None:
    """The sha256 of the plugin's code, or ``None`` for an installed distribution, whose version says it."""
    plugin = registration.plugin
    if not plugin.editable:
        return None
    if plugin.path is not None:
        return plugin.sha256
    factory = registration.spec.factory.partition(":")[0] or plugin.module
    return identity_of_modules(plugin.module, factory)


@cache
def identity_of_modules(*modules: str) -> str:
    """The sha256 of these modules and of what they import from their own folder; read once in a process."""
    own = modules[0].partition(".")[0]
    roots: dict[str, Path | None] = {}
    hashes: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        for each in (own, top):
            if each not in roots:
                roots[each] = _root(each)
        root = roots[top]
        if name in hashes or root is None or root != roots[own]:
            continue
        # Not importlib: looking for a sub-module imports every package above it.
        base = root.joinpath(*name.split("."))
        path = next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)
        if path is None:
            continue
        content = path.read_bytes()
        hashes[name] = hashlib.sha256(content).hexdigest()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(content, package)
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()


def _root(top: str) -> Path | None:
    """The folder that a top-level module or package lies in; ``None`` for what has no source files."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin else None


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
