"""Where a plugin comes from, what became of it, and how a plugin file is imported."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType

from mtbench.typed import Record

OWN_DISTRIBUTION = "mtbench"
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
    return f"mtbench_plugin_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}".replace("-", "_")


def import_plugin_file(file: Path | str) -> ModuleType:
    """Import a plugin file under a name of its own; once, as long as its content stays the same.

    Another thread may be using the module: it is replaced by one that has not run yet only where the file has changed.
    """
    path = Path(file)
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
