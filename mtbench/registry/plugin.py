"""Where a plugin comes from, what became of it, and how a plugin file is imported."""

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

OWN_DISTRIBUTION = "mtbench"
_PREFIX = "mtbench_plugin_file_"
_CONTENT = "__mtbench_content__"
"""The attribute of a plugin file's module that holds the sha256 of what was run."""


@dataclass
class PluginReference(Record):
    """What another process needs to load one plugin and no other.

    Attributes:
        name: the entry point's name, or the file's.
        module: the module it names.
        distribution, version: where it comes from; ``file`` and empty for a plugin file.
        path, sha256: of a plugin file, and of its content when it was loaded.
        editable: whether its code may change under the same version (editable installs, plugin files).
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
        """Whether it is of mtbench's own distribution."""
        return self.distribution == OWN_DISTRIBUTION


@dataclass
class Plugin(PluginReference):
    """One entry point or plugin file and what became of it; see also :class:`PluginReference`.

    Attributes:
        specs: what it registered, as (kind, name).
        problem, remedy: why it, or a part of it, was set aside; empty when all is well.
    """

    specs: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    remedy: str = ""

    @staticmethod
    def of_file(path: Path) -> Plugin:
        """The plugin that a file holds."""
        return Plugin(path.stem, module_name(path), "file", path=path, editable=True, sha256=content_hash(path))

    def reference(self) -> PluginReference:
        """What another process needs to load it; see :func:`mtbench.registry.discovery.load_one`."""
        return PluginReference(**{each.name: getattr(self, each.name) for each in fields(PluginReference)})

    def set_aside(self, problem: str, remedy: str) -> None:
        """Note a problem; the first one stands, later ones are added."""
        self.problem = f"{self.problem}; {problem}" if self.problem else problem
        self.remedy = self.remedy or remedy


def content_hash(path: Path) -> str:
    """The sha256 of a plugin file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def module_name(path: Path) -> str:
    """The name under which a plugin file is imported: files of one name in several folders do not meet."""
    return f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}".replace("-", "_")


def project_folder(path: Path) -> Path:
    """The folder that a plugin file's own imports start from: its own, or the one above the package it is in."""
    folder = path.parent
    while (folder / "__init__.py").exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def project_files(folder: Path) -> list[Path]:
    """The plugin files of a project: those of its entry points, or ``plugin.py``, or all that hold a hook.

    Raises:
        RequestError: there is none.
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
            "the folder holds no plugin file",
            where=str(folder),
            expected="a pyproject.toml with entry points of the group mtbench, a plugin.py, or a file with a hook",
        )
    return files


def explain_import(problem: str, plugin: PluginReference) -> tuple[str, str] | None:
    """What module is missing, where it was looked for, and the fix; ``None`` of any other problem."""
    match = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", problem)
    if match is None:
        return None
    top = match[1].partition(".")[0]
    beside = f", beside the plugin ({project_folder(plugin.path)})" if plugin.path else ""
    where = f"it was looked for among what is installed for {childprocess.command()[0]}{beside} and on PYTHONPATH"
    put = f"put {top}.py, or the folder {top}, beside {plugin.path}, or " if plugin.path else ""
    return f"there is no module '{match[1]}', which it imports; {where}", f"{put}install what provides '{top}' there"


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
        # What is installed comes first; but of two projects each needs its own.
        if other != folder.resolve() and str(other) in sys.path and _is_project(other):
            raise ImportError(
                f"its helper module '{helper.stem}' has the name of {file}, which is loaded already; rename one of them"
            )


def _helpers(path: Path, folder: Path) -> list[Path]:
    """The modules and packages of the folder that the plugin file imports, directly or through each other.

    The imports of one that is loaded from here are not read: they were resolved when it was loaded.
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
    """Whether a plugin file has put this folder on the search path."""
    return any(
        isinstance(file := vars(module).get("__file__"), str) and project_folder(Path(file)).resolve() == folder
        for name, module in list(sys.modules.items())
        if name.startswith(_PREFIX) and isinstance(module, ModuleType)
    )


def import_plugin_file(file: Path | str) -> ModuleType:
    """Import a plugin file under a name of its own; once, as long as its content stays the same.

    The folder of the project that the file belongs to comes last on the search path: helper modules beside it are
    found, and none of them stands in for what is installed.

    Another thread may be using the module: it is replaced by one that has not run yet only where the file has changed.

    Raises:
        ImportError: a helper module has the name of one that another plugin file has brought.
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
    # Registered before it runs, so that dataclasses and ":Class" factories find their module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    setattr(module, _CONTENT, content)
    return module
