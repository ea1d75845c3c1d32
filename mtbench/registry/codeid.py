"""The identity of plugin code, which may change a result although name, version and parameters stay the same.

It is the sha256 over the plugin's own source files: the modules of its hook and its class, and the modules that these
import. Imports are found by reading import statements; nothing is imported. Modules of the plugin's distribution count,
and helper modules that belong to no installed distribution (a folder on ``PYTHONPATH``, an editable checkout, the
folder of a plugin file). The standard library, mtbench itself and other installed distributions do not count: the
modules of these that a unit loads are in its manifest (:func:`loaded_elsewhere`) and compared when its artefact is
looked up (:func:`changed_elsewhere`).
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import machinery, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from mtbench.registry.basespec import Spec
from mtbench.registry.plugin import OWN_DISTRIBUTION
from mtbench.registry.registry import Registration
from mtbench.registry.statements import imported_names

_SUFFIXES = (".py", *machinery.EXTENSION_SUFFIXES)
_CORE = "mtbench"
_STANDARD = Path(os.__file__).parent
"""The folder of the standard library."""


def code_identity(registration: Registration[Spec[Any]]) -> str | None:
    """The sha256 of the plugin's code as it is now; ``None`` for built-ins of an installed mtbench."""
    plugin = registration.plugin
    if plugin.built_in and not plugin.editable:
        return None
    files = closure(registration)
    # The module name of a plugin file depends on its path, which changes no result.
    names = {name: "" if path == plugin.path else name for name, path in files.items()}
    hashes = sorted((names[name], _reading(path)[0]) for name, path in files.items())
    identity = hashlib.sha256(repr(hashes).encode()).hexdigest()
    _imported.setdefault(_module(registration), identity)
    return identity


_imported: dict[tuple[str, ...], str] = {}
"""The identity of each plugin's code at its first use in this process, right after its import."""


def _module(registration: Registration[Spec[Any]]) -> tuple[str, ...]:
    return (registration.plugin.module, registration.plugin.sha256, registration.spec.factory)


def imported_code(registration: Registration[Spec[Any]]) -> str | None:
    """The sha256 of the code that this process has imported, regardless of later edits."""
    return _imported.get(_module(registration)) or code_identity(registration)


def forget_imports() -> None:
    """Forget the recorded identities, so that the next imports record the code as it is then."""
    _imported.clear()


def closure(registration: Registration[Spec[Any]]) -> dict[str, Path]:
    """The source files of a plugin's own modules, by module name."""
    plugin = registration.plugin
    factory = registration.spec.factory.partition(":")[0] or plugin.module
    if plugin.path is not None:
        return _follow([factory, *_reading(plugin.path)[1]], {plugin.module: plugin.path}, lambda top: False)
    home, top = _roots(plugin.module.partition(".")[0]), {name.partition(".")[0] for name in (plugin.module, factory)}
    tops = _tops(plugin.distribution) | top
    return _follow([plugin.module, factory], {}, lambda top: top in tops or (_roots(top) == home and plugin.editable))


def _follow(waiting: list[str], files: dict[str, Path], own: Callable[[str], bool]) -> dict[str, Path]:
    """Add the imported modules: those with a top-level module in ``own``, and helper modules."""
    visited = set(files)
    while waiting:
        name = waiting.pop()
        package = name.rpartition(".")[0]
        if package:
            waiting.append(package)  # Importing a module also runs its parent packages.
        if name in visited:
            continue
        visited.add(name)
        top = name.partition(".")[0]
        path = _source(name)
        if path is None or top == _CORE:
            continue
        # Distributions are installed in common folders, helper modules are outside of these.
        if not own(top) and any(map(_is_shared, _roots(top))):
            continue
        files[name] = path
        names = _reading(path)[1]
        home = name if path.stem == "__init__" else package
        waiting += [_absolute(each, home) for each in names]
    return files


def _roots(top: str) -> tuple[Path, ...]:
    """The folders that contain a top-level module; none for the standard library and modules without a file."""
    if top in sys.stdlib_module_names or not top:
        return ()
    # Not importlib.util.find_spec(): it reads sys.modules, where several distributions put modules of the same name
    # (Cython's "_cyutility"), so the result would depend on earlier imports of this process.
    try:
        specs = (finder.find_spec(top, None) for finder in sys.meta_path)
        spec = next((spec for spec in specs if spec is not None), None)
    except (ImportError, AttributeError, ValueError):
        return ()
    if spec is None:
        return ()
    if spec.submodule_search_locations:
        return tuple(Path(location).parent for location in spec.submodule_search_locations)
    return (Path(spec.origin).parent,) if spec.origin and spec.has_location else ()


def _source(name: str) -> Path | None:
    """The file of a module, by the rules of the import system."""
    # Not importlib: its search for a sub-module imports the parent packages.
    for root in _roots(name.partition(".")[0]):
        base = root.joinpath(*name.split("."))
        packages, modules = (base / f"__init__{end}" for end in _SUFFIXES), (Path(f"{base}{end}") for end in _SUFFIXES)
        if path := next((path for path in (*packages, *modules) if path.is_file()), None):
            return path
    return None


@cache
def _is_shared(root: Path) -> bool:
    """Whether distributions are installed in this folder."""
    return root.name in ("site-packages", "dist-packages") or any(root.glob("*.dist-info"))


_readings: dict[tuple[str, tuple[int, ...]], tuple[str, list[str]]] = {}


def _reading(path: Path) -> tuple[str, list[str]]:
    """The sha256 of a source file, and its imports, relative ones with dots; read once for each file state."""
    stat = path.stat()
    state = (str(path), (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    if state not in _readings:
        content = path.read_bytes()
        _readings[state] = (
            hashlib.sha256(content).hexdigest(),
            imported_names(content) if path.suffix == ".py" else [],
        )
    return _readings[state]


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name[level:]])])


# -- modules outside the plugin's own code


def loaded_elsewhere(registration: Registration[Spec[Any]], *, alone: bool) -> dict[str, dict[str, str]]:
    """The modules outside the plugin's own code that this process has loaded: by module, its file and its sha256.

    The standard library, mtbench, and the distributions that mtbench requires (torch, MONAI, ...) are omitted: the
    record of the environment has their versions.

    Args:
        registration: of the plugin.
        alone: whether no other plugin is loaded in this process; then helper modules that were imported without an
            import statement count too.
    """
    if registration.plugin.built_in:
        return {}
    own = closure(registration)
    known = _required() | sys.stdlib_module_names | {_CORE, "__main__", "__mp_main__"}
    imports = [_absolute(each, name) for name, path in own.items() for each in _reading(path)[1]]
    names = set(_follow(imports, dict(own), lambda top: top not in known))
    if alone:
        names |= {name for name in list(sys.modules) if _is_helper(name.partition(".")[0])}
    own_files = set(map(str, own.values()))
    modules: dict[str, dict[str, str]] = {}
    for name in sorted(names):
        module = sys.modules.get(name)
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if not isinstance(file, str) or name.partition(".")[0] in known or file in own_files:
            continue
        if os.path.isfile(file):
            modules[name] = {"file": file, "sha256": _reading(Path(file))[0]}
    return modules


def _is_helper(top: str) -> bool:
    """Whether a top-level module is outside of the folders of installed distributions."""
    roots = _roots(top)
    return bool(roots) and not any(_is_shared(root) or root == _STANDARD for root in roots)


def changed_elsewhere(loaded: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The modules among those of :func:`loaded_elsewhere` that have changed or no longer exist."""
    changed = []
    for name, entry in loaded.items():
        path = _source(name) or Path(entry["file"])
        if not path.is_file() or _reading(path)[0] != entry["sha256"]:
            changed.append(name)
    return changed


@cache
def _tops(distribution: str) -> frozenset[str]:
    """The top-level modules of an installed distribution."""
    record = _metadata(distribution, "RECORD")
    files = (
        line.split(",", 1)[0] for line in record.splitlines() if ".py," in line or ".so," in line or ".pyd," in line
    )
    return frozenset(file.split("/", 1)[0].partition(".")[0] for file in files) - {""}


@cache
def _required() -> frozenset[str]:
    """The top-level modules of all direct and indirect requirements of mtbench."""
    waiting, names = [OWN_DISTRIBUTION], set[str]()
    # The record of an editable checkout names no modules; its entry points do.
    tops = frozenset(entry.module.partition(".")[0] for entry in metadata.distribution(OWN_DISTRIBUTION).entry_points)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in names:
            continue
        names.add(name)
        tops |= _tops(name)
        # Not metadata.requires(): it parses the whole description, which takes a second for all distributions.
        header = _metadata(name, "METADATA").partition("\n\n")[0]
        waiting += re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*\bextra\b)", header, re.MULTILINE)
    return tops


def _metadata(distribution: str, name: str) -> str:
    try:
        return metadata.distribution(distribution).read_text(name) or ""
    except metadata.PackageNotFoundError:
        return ""
