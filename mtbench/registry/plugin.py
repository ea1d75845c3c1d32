"""The origin and state of a plugin, and the import of plugin files."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType

from mtbench import childprocess
from mtbench.errors import RequestError
from mtbench.registry.statements import imported_names
from mtbench.toml import parse, read_text
from mtbench.typed import Record

OWN_DISTRIBUTION = "medical-translation-bench"
"""The name of mtbench on a package index, where ``mtbench`` is another project."""
_PREFIX = "mtbench_plugin_file_"
_CONTENT = "__mtbench_content__"
"""The attribute of a plugin file's module with the sha256 of the code that was run."""


@dataclass
class PluginReference(Record):
    """The data that another process needs to load only this plugin.

    Attributes:
        name: the entry point's name, or the file's.
        module: its module.
        distribution, version: where it comes from; ``file`` and empty for a plugin file.
        path, sha256: for a plugin file: its path, and the hash of its content when it was loaded.
        editable: whether its code may change without a new version (editable installs, plugin files).
    """

    name: str
    module: str
    distribution: str
    version: str = ""
    path: Path | None = None
    editable: bool = False
    sha256: str = ""

    @property
    def origin(self) -> str:
        """Distribution and version, or the file."""
        return str(self.path) if self.path else f"{self.distribution} {self.version}".strip()

    @property
    def built_in(self) -> bool:
        """Whether it belongs to mtbench's own distribution."""
        return self.distribution == OWN_DISTRIBUTION


@dataclass
class Plugin(PluginReference):
    """One entry point or plugin file and its state; see also :class:`PluginReference`.

    Attributes:
        specs: its registered specs, as (kind, name).
        problem, remedy: why it, or a part of it, was rejected, and the fix; empty if there is no problem.
    """

    specs: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    remedy: str = ""

    @staticmethod
    def of_file(path: Path) -> Plugin:
        """The plugin in a file."""
        return Plugin(path.stem, module_name(path), "file", path=path, editable=True, sha256=content_hash(path))

    def reference(self) -> PluginReference:
        """A reference for another process; see :func:`mtbench.registry.discovery.load_one`."""
        return PluginReference(**{each.name: getattr(self, each.name) for each in fields(PluginReference)})

    def set_aside(self, problem: str, remedy: str) -> None:
        """Record a problem; further problems are appended, the first remedy is kept."""
        self.problem = f"{self.problem}; {problem}" if self.problem else problem
        self.remedy = self.remedy or remedy


def content_hash(path: Path) -> str:
    """The sha256 of a plugin file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def module_name(path: Path) -> str:
    """The module name of a plugin file, which differs for files of the same name in different folders."""
    return f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}".replace("-", "_")


def project_folder(path: Path) -> Path:
    """The import root of a plugin file: its folder, or the parent folder of its package."""
    folder = path.parent
    while (folder / "__init__.py").exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def project_files(folder: Path) -> list[Path]:
    """The plugin files of a project: those of its entry points, or ``plugin.py``, or all files with a hook.

    Raises:
        RequestError: there are none.
    """
    pyproject = folder / "pyproject.toml"
    if pyproject.exists():
        entries = (
            parse(read_text(pyproject), str(pyproject)).get("project", {}).get("entry-points", {}).get("mtbench", {})
        )
        places = [
            folder / base / f"{str(module).replace('.', '/')}" for module in entries.values() for base in ("", "src")
        ]
        files = [
            file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()
        ]
        if files:
            return files
    if (folder / "plugin.py").is_file():
        return [folder / "plugin.py"]
    files = [file for file in sorted(folder.glob("*.py")) if "hookimpl" in file.read_text(errors="replace")]
    if not files:
        raise RequestError(
            "the folder contains no plugin file",
            where=str(folder),
            expected="a pyproject.toml with entry points of the group mtbench, a plugin.py, or a file with a hook",
        )
    return files


def explain_import(problem: str, plugin: PluginReference) -> tuple[str, str] | None:
    """The missing module, the searched places, and the fix; ``None`` for other problems."""
    match = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", problem)
    if match is None:
        return None
    top = match[1].partition(".")[0]
    beside = f", beside the plugin ({project_folder(plugin.path)})" if plugin.path else ""
    where = f"searched in the packages of {childprocess.command()[0]}{beside} and on PYTHONPATH"
    put = f"put {top}.py, or the folder {top}, beside {plugin.path}, or " if plugin.path else ""
    return f"it imports the module '{match[1]}', which is missing; {where}", f"{put}install the package of '{top}'"


def _open_project(path: Path) -> None:
    folder = project_folder(path)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for helper in _helpers(path, folder):
        present = sys.modules.get(helper.stem)
        file = vars(present).get("__file__") if present is not None else None
        if not isinstance(file, str):
            continue
        other = Path(file).resolve().parent
        other = other.parent if Path(file).name == "__init__.py" else other
        # Installed modules come first; but of two projects each needs its own helpers.
        if other != folder.resolve() and str(other) in sys.path and _is_project(other):
            raise ImportError(
                f"its helper module '{helper.stem}' has the same name as {file}, which is loaded; rename one of them"
            )


def _helpers(path: Path, folder: Path) -> list[Path]:
    """The modules and packages of the folder that the plugin file imports, directly or indirectly.

    The imports of a module that is loaded from here are not read: they were resolved when it was loaded.
    """
    beside = {file.stem: file for file in folder.glob("*.py") if file != path}
    beside |= {init.parent.name: init.parent for init in folder.glob("*/__init__.py")}
    helpers: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        sources = file.rglob("*.py") if file.is_dir() else [file]
        for name in {name.partition(".")[0] for source in sources for name in imported_names(source.read_bytes())}:
            if name in beside and name not in helpers:
                helpers[name] = beside[name]
                if not _is_loaded(beside[name]):
                    waiting.append(beside[name])
    return list(helpers.values())


def _is_loaded(helper: Path) -> bool:
    """Whether a module or package of the folder is loaded, and from there."""
    file = vars(sys.modules[helper.stem]).get("__file__") if helper.stem in sys.modules else None
    return isinstance(file, str) and Path(file).resolve() in (helper.resolve(), helper.resolve() / "__init__.py")


def _is_project(folder: Path) -> bool:
    """Whether a plugin file has added this folder to the search path."""
    return any(
        isinstance(file := vars(module).get("__file__"), str) and project_folder(Path(file)).resolve() == folder
        for name, module in list(sys.modules.items())
        if name.startswith(_PREFIX) and isinstance(module, ModuleType)
    )


def import_plugin_file(file: Path | str) -> ModuleType:
    """Import a plugin file under a unique module name; once, as long as its content stays the same.

    The folder of the file's project is added to the end of the search path, so that its helper modules can be imported
    but cannot replace installed ones.

    Another thread may use the module, so it is replaced only if the file has changed.

    Raises:
        ImportError: a helper module has the same name as one of another plugin file.
    """
    path = Path(file)
    _open_project(path)
    name, content = module_name(path), content_hash(path)
    present = sys.modules.get(name)
    if present is not None and getattr(present, _CONTENT, "") == content:
        return present
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered before it is executed, so that dataclasses and ":Class" factories find their module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    setattr(module, _CONTENT, content)
    return module
