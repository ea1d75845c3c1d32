"""Finds plugins, collects their specs, and sets aside those that are broken while all others work."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pluggy

from mtbench.errors import MtbenchError, PluginError, RequestError, close_matches
from mtbench.registry import hookspecs
from mtbench.registry.params import complete
from mtbench.registry.probing import trial
from mtbench.registry.specs import KINDS, Spec, SuiteSpec
from mtbench.registry.userconfig import UserConfig

GROUP = "mtbench"
OWN_DISTRIBUTION = "mtbench"
_SPEC_TYPES = {spec.kind: spec for spec in KINDS}


@dataclass
class Plugin:
    """One entry point or plugin file and what became of it.

    Attributes:
        name: the entry point's name, or the file's.
        module: the module it names.
        distribution, version: where it comes from; ``file`` and empty for a plugin file.
        path, sha256: of a plugin file, and of its content when it was loaded.
        editable: whether its code may change under the same version (editable installs, plugin files).
        specs: what it registered, as (kind, name).
        problem, remedy: why it, or a part of it, was set aside; empty when all is well.
    """

    name: str
    module: str
    distribution: str
    version: str = ""
    path: Path | None = None
    editable: bool = False
    sha256: str = ""
    specs: list[tuple[str, str]] = field(default_factory=list)
    problem: str = ""
    remedy: str = ""

    @property
    def origin(self) -> str:
        """Distribution and version, or the file."""
        return str(self.path) if self.path else f"{self.distribution} {self.version}".strip()

    def reference(self) -> dict[str, Any]:
        """What another process needs to load this plugin and no other, as JSON values; see :func:`load_one`."""
        return {
            "name": self.name,
            "module": self.module,
            "distribution": self.distribution,
            "version": self.version,
            "path": str(self.path) if self.path else None,
            "editable": self.editable,
            "sha256": self.sha256,
        }

    def set_aside(self, problem: str, remedy: str) -> None:
        """Note a problem; the first one stands, later ones are added."""
        self.problem = f"{self.problem}; {problem}" if self.problem else problem
        self.remedy = self.remedy or remedy


@dataclass(frozen=True)
class Registered:
    """A spec with the plugin that yielded it."""

    spec: Any
    plugin: Plugin

    def create(self, params: Mapping[str, Any]) -> Any:
        """Import the heavy class and make the object.

        Raises:
            PluginError: the class cannot be imported, refuses its parameters or lacks a method.
            MtbenchError: whatever its ``__init__`` raises of that kind.
        """
        where = f"{self.spec.kind} '{self.spec.name}' of {self.plugin.origin}"
        module_name, _, attribute = self.spec.factory.partition(":")
        try:
            module = importlib.import_module(module_name or self.plugin.module)
            factory: Any = module
            for part in attribute.split("."):
                factory = getattr(factory, part)
        except Exception as error:
            raise PluginError(
                f"its class {self.spec.factory} cannot be imported: {type(error).__name__}: {error}",
                where=where,
                remedy="Install what it needs, or correct the factory in its spec",
            ) from error
        try:
            made = factory(**params)
        except TypeError as error:
            raise PluginError(
                f"{attribute} does not take the declared parameters: {error}",
                where=where,
                expected="a class whose __init__ takes " + (", ".join(params) or "nothing"),
            ) from error
        except MtbenchError:
            raise
        except Exception as error:
            raise PluginError(f"{attribute} cannot be made: {type(error).__name__}: {error}", where=where) from error
        if lacking := self.spec.lacking(made, params):
            # Before a fit, not when it is over and cannot be saved.
            what = f"{attribute} has no method " + ", ".join(f"{name}()" for name in lacking)
            matches = close_matches(lacking[0], [name for name in dir(made) if not name.startswith("_")])
            raise PluginError(what, where=where, expected="what its kind must have", matches=matches)
        return made


class Registry:
    """All specs that were found, by kind and name.

    Args:
        config: the user's ``mtbench.toml``.
    """

    def __init__(self, config: UserConfig | None = None) -> None:
        self.config = config or UserConfig()
        self.plugins: list[Plugin] = []
        self.manager = pluggy.PluginManager("mtbench")
        self.manager.add_hookspecs(hookspecs)
        self._specs: dict[tuple[str, str], Registered] = {}

    def names(self, kind: str) -> list[str]:
        """Names of all specs of a kind, sorted."""
        return sorted(name for k, name in self._specs if k == kind)

    def get(self, kind: str, name: str) -> Registered:
        """The spec of that kind and name.

        Raises:
            RequestError: there is none; the text gives close matches and says if a broken plugin had it.
        """
        found = self._specs.get((kind, name))
        if found is not None:
            return found
        raise RequestError(
            f"there is no {kind} '{name}'",
            matches=close_matches(name, self.names(kind)),
            expected="one of " + ", ".join(self.names(kind)) if self.names(kind) else None,
            remedy=self.broken(name) or "`mtbench plugins` lists what is installed",
        )

    def broken(self, name: str) -> str | None:
        """What is wrong with the plugin that may have had ``name``: one of that name, or a file that the user named."""
        for plugin in self.plugins:
            names = [known.replace("_", "-") for known in (plugin.name, *(spec for _, spec in plugin.specs))]
            if plugin.problem and (plugin.path or name.replace("_", "-") in names):
                return f"The plugin '{plugin.name}' of {plugin.origin} was set aside: {plugin.problem}"
        return None

    def complete(self, kind: str, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of that spec: defaults filled in, types checked, the user's ``mtbench.toml`` consulted."""
        registered = self.get(kind, name)
        spec, owner = registered.spec, f"{kind} '{name}'"
        found = complete(params, spec.params, owner)
        if spec.configure is None:
            return found
        try:
            return complete(spec.configure(found, self.config), spec.params, owner)
        except MtbenchError:
            raise
        except Exception as error:
            raise PluginError(
                f"its configure failed: {type(error).__name__}: {error}",
                where=f"{owner} of {registered.plugin.origin}",
            ) from error

    def add(self, plugin: Plugin, kind: str, spec: Any) -> None:
        """Register one spec; a name that is taken sets the newcomer aside."""
        known = self._specs.get((kind, spec.name))
        if known is not None:
            plugin.set_aside(
                f"{kind} '{spec.name}' is already registered by '{known.plugin.name}' of {known.plugin.origin}",
                f"rename one of them, or uninstall {plugin.distribution if not plugin.path else 'one'}",
            )
            return
        plugin.specs.append((kind, spec.name))
        self._specs[(kind, spec.name)] = Registered(spec, plugin)


def discover(
    files: Iterable[Path | str] = (),
    *,
    third_party: bool = True,
    config: str | os.PathLike[str] | None = None,
    careful: bool = False,
) -> Registry:
    """Find every plugin and collect what it yields.

    Args:
        files: plugin files to load beside the installed ones (``--plugin FILE.py``).
        third_party: whether to look at distributions other than mtbench's own (``--no-plugins`` says no).
        config: the user's ``mtbench.toml`` (``--config FILE``), where it is not in its usual place.
        careful: try what is not our own in another process first, and set aside what hangs or crashes there.

    Raises:
        RequestError: a plugin file does not exist. A broken plugin raises nothing: see ``Registry.plugins``.
    """
    registry = Registry(UserConfig(config))
    found: list[tuple[Plugin, Callable[[], object]]] = [
        (plugin, entry.load)
        for entry, plugin in _entry_points()
        if third_party or plugin.distribution == OWN_DISTRIBUTION
    ]
    for file in files:
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise RequestError(f"there is no plugin file {file}", expected="the path of a Python file")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        plugin = Plugin(path.stem, _module_name(path), "file", path=path, editable=True, sha256=sha256)
        found.append((plugin, partial(import_plugin_file, path)))
    troubles = _try_elsewhere([plugin for plugin, _ in found]) if careful else {}
    for plugin, importer in found:
        registry.plugins.append(plugin)
        if id(plugin) in troubles:
            plugin.set_aside(f"its import failed: {troubles[id(plugin)]}", _reinstall(plugin))
        else:
            _load(registry, plugin, importer)
    return registry


def _try_elsewhere(plugins: Iterable[Plugin]) -> dict[int, str]:
    """What went wrong with importing those that are not our own."""
    foreign = [plugin for plugin in plugins if plugin.distribution != OWN_DISTRIBUTION]
    trials = [
        {"file": str(plugin.path) if plugin.path else None, "modules": [] if plugin.path else [plugin.module]}
        for plugin in foreign
    ]
    return {id(foreign[position]): problem for position, problem in trial(trials).items()}


def load_one(reference: Mapping[str, Any]) -> Registry:
    """A registry of the one plugin that :meth:`Plugin.reference` described.

    Raises:
        PluginError: it is not there, has changed since, or cannot be loaded.
    """
    path = Path(reference["path"]) if reference["path"] else None
    plugin = Plugin(**{**reference, "path": path})
    registry = Registry()
    registry.plugins.append(plugin)
    if path is None:
        _load(registry, plugin, partial(importlib.import_module, plugin.module))
    else:
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != plugin.sha256:
            raise PluginError(
                "the plugin file has changed or gone since the run was started",
                where=str(path),
                remedy="Run the same command again",
            )
        _load(registry, plugin, partial(import_plugin_file, path))
    if not plugin.specs:
        raise PluginError(plugin.problem or "it registers nothing", where=plugin.origin, remedy=plugin.remedy)
    return registry


def _entry_points() -> Iterator[tuple[metadata.EntryPoint, Plugin]]:
    found = []
    for distribution in metadata.distributions():
        try:
            entries = distribution.entry_points.select(group=GROUP)
        except Exception:  # somebody's damaged installation: whether it has plugins cannot be known
            continue
        if not entries:
            continue
        name, version = _name_and_version(distribution)
        editable = _is_editable(distribution)
        found += [(entry, Plugin(entry.name, entry.value, name, version, editable=editable)) for entry in entries]
    # Our own first, so that a newcomer is the one set aside when names clash; then by name, never by path order.
    found.sort(key=lambda pair: (pair[1].distribution != OWN_DISTRIBUTION, pair[1].distribution, pair[1].name))
    seen: set[tuple[str, str]] = set()
    for entry, plugin in found:
        # An editable checkout on sys.path can show the same distribution twice.
        if (plugin.distribution, plugin.name) not in seen:
            seen.add((plugin.distribution, plugin.name))
            yield entry, plugin


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    try:
        return distribution.metadata["Name"] or "unknown", distribution.version or ""
    except Exception:  # damaged metadata beside readable entry points
        return "unknown", ""


def _is_editable(distribution: metadata.Distribution) -> bool:
    try:
        text = distribution.read_text("direct_url.json")
        return bool(text) and bool(json.loads(text or "{}").get("dir_info", {}).get("editable"))
    except (ValueError, OSError):
        return False


def _module_name(path: Path) -> str:
    return f"mtbench_plugin_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}".replace("-", "_")


def import_plugin_file(file: Path | str) -> ModuleType:
    """Import a plugin file under a name of its own."""
    path = Path(file)
    name = _module_name(path)
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
    return module


def _reinstall(plugin: Plugin) -> str:
    return f"reinstall or uninstall {plugin.distribution}" if not plugin.path else f"correct {plugin.path}"


def _load(registry: Registry, plugin: Plugin, importer: Any) -> None:
    reinstall = _reinstall(plugin)
    try:
        module = importer()
    except (Exception, SystemExit) as error:
        plugin.set_aside(f"its import failed: {type(error).__name__}: {error}", reinstall)
        return
    try:
        registry.manager.register(module, name=f"{plugin.origin}:{plugin.name}")
    except Exception as error:
        plugin.set_aside(f"it cannot be registered: {error}", f"correct its hooks, or {reinstall}")
        return
    callers = registry.manager.get_hookcallers(module) or []
    if not callers:
        plugin.set_aside(
            "it implements no hook",
            "mark its functions with @mtbench.hookimpl and give them the names of hooks",
        )
    for caller in callers:
        if not caller.has_spec():
            close = close_matches(
                caller.name, [*hookspecs.SPEC_HOOKS, "mtbench_unit_finished", "mtbench_suite_finished"]
            )
            plugin.set_aside(
                f"it implements an unknown hook '{caller.name}'" + (f" (did you mean '{close[0]}'?)" if close else ""),
                "rename the function",
            )
        elif caller.name in hookspecs.SPEC_HOOKS:
            _collect(registry, plugin, module, caller)


def _collect(registry: Registry, plugin: Plugin, module: object, caller: pluggy.HookCaller) -> None:
    kind = hookspecs.SPEC_HOOKS[caller.name]
    for implementation in caller.get_hookimpls():
        if implementation.plugin is not module:
            continue
        if implementation.hookwrapper or implementation.wrapper:
            plugin.set_aside(f"{caller.name} is a wrapper", "yield specs of your own; wrappers are refused here")
            continue
        try:
            yielded = list(cast(Iterable[Any], implementation.function() or ()))
        except (Exception, SystemExit) as error:
            said = str(error).rstrip(".") if isinstance(error, MtbenchError) else f"{type(error).__name__}: {error}"
            plugin.set_aside(f"{caller.name} failed: {said}", "correct the hook")
            continue
        for spec in yielded:
            expected = _SPEC_TYPES[kind]
            if not isinstance(spec, (Spec, SuiteSpec)) or spec.kind != kind:
                plugin.set_aside(
                    f"{caller.name} yielded {type(spec).__name__} {spec!r:.60}",
                    f"yield mtbench.{expected.__name__} objects",
                )
                continue
            registry.add(plugin, kind, spec)
