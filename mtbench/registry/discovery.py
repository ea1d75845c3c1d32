"""Finds plugins, collects their specs, and rejects broken plugins without affecting the others."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import cast

import pluggy

from mtbench.errors import MtbenchError, PluginError, RequestError, close_matches
from mtbench.paths import expand
from mtbench.registry import hookspecs
from mtbench.registry.basespec import Spec
from mtbench.registry.plugin import (
    Plugin,
    PluginReference,
    content_hash,
    explain_import,
    import_plugin_file,
    project_files,
)
from mtbench.registry.probing import Imports, trial
from mtbench.registry.registry import Registry
from mtbench.registry.specs import KINDS, SuiteSpec
from mtbench.registry.userconfig import UserConfig

GROUP = "mtbench"


def discover(
    files: Iterable[Path | str] = (),
    *,
    third_party: bool = True,
    config: str | os.PathLike[str] | None = None,
    careful: bool = False,
) -> Registry:
    """Find all plugins and collect their specs.

    Args:
        files: plugin files to load in addition to the installed ones and those that the user's ``mtbench.toml`` names
            (``--plugin FILE.py``); a folder means the plugin files of the project in it.
        third_party: whether to load distributions other than mtbench's own (``--no-plugins`` disables it).
        config: the user's ``mtbench.toml`` (``--config FILE``), if it is not in its default place.
        careful: import third-party plugins in another process first, and reject those that hang or crash there.

    Raises:
        RequestError: a plugin file does not exist. A broken plugin raises no error: see ``Registry.plugins``.
    """
    registry = Registry(UserConfig(config))
    candidates: list[tuple[Plugin, Callable[[], object]]] = [
        (plugin, entry.load) for entry, plugin in _entry_points() if third_party or plugin.built_in
    ]
    remembered = registry.config.plugin_files if third_party else ()
    paths = dict.fromkeys(path for file in (*files, *remembered) for path in _plugin_files(file))
    candidates += [(Plugin.of_file(path), partial(import_plugin_file, path)) for path in paths]
    foreign = [plugin for plugin, _ in candidates if careful and not plugin.built_in]
    trials = [Imports(plugin.path, () if plugin.path else (plugin.module,)) for plugin in foreign]
    troubles = {id(foreign[position]): problem for position, problem in trial(trials).items()} if careful else {}
    for plugin, importer in candidates:
        _load(registry, plugin, importer, troubles.get(id(plugin), ""))
    return registry


def _plugin_files(file: Path | str) -> list[Path]:
    path = expand(file).resolve()
    if path.is_dir():
        return project_files(path)
    if not path.is_file():
        raise RequestError(
            f"the plugin file {file} does not exist", expected="the path of a Python file or of its folder"
        )
    return [path]


def load_one(reference: PluginReference) -> Registry:
    """A registry of one plugin only.

    Raises:
        PluginError: it does not exist, has changed since the run started, or cannot be loaded.
    """
    path = reference.path
    plugin = Plugin(**vars(reference))
    registry = Registry()
    if path is not None and (not path.is_file() or content_hash(path) != plugin.sha256):
        raise PluginError(
            "the plugin file was changed or removed after the start of the run",
            where=str(path),
            remedy="Rerun the same command",
        )
    imports = partial(import_plugin_file, path) if path else partial(importlib.import_module, plugin.module)
    _load(registry, plugin, imports)
    if not plugin.specs:
        raise PluginError(plugin.problem or "it registers nothing", where=plugin.origin, remedy=plugin.remedy)
    return registry


def _entry_points() -> Iterator[tuple[metadata.EntryPoint, Plugin]]:
    pairs = []
    for distribution in metadata.distributions():
        try:
            entries = distribution.entry_points.select(group=GROUP)
        except Exception:  # a damaged installation: whether it has plugins is unknown
            continue
        if not entries:
            continue
        name, version, editable = "unknown", "", False
        with contextlib.suppress(Exception):  # damaged metadata beside readable entry points
            name, version = distribution.metadata["Name"] or name, distribution.version or version
        with contextlib.suppress(ValueError, OSError):
            text = distribution.read_text("direct_url.json") or "{}"
            editable = bool(json.loads(text).get("dir_info", {}).get("editable"))
        pairs += [(entry, Plugin(entry.name, entry.value, name, version, editable=editable)) for entry in entries]
    # Our own first, so that a name clash rejects the other plugin; then by name, never by path order.
    pairs.sort(key=lambda pair: (not pair[1].built_in, pair[1].distribution, pair[1].name))
    keys: set[tuple[str, str]] = set()
    for entry, plugin in pairs:
        # An editable checkout on sys.path can list the same distribution twice.
        if (plugin.distribution, plugin.name) not in keys:
            keys.add((plugin.distribution, plugin.name))
            yield entry, plugin


def _load(registry: Registry, plugin: Plugin, importer: Callable[[], object], trouble: str = "") -> None:
    """Import a plugin and collect its specs, unless ``trouble`` says that its import fails."""
    registry.plugins.append(plugin)
    reinstall = f"reinstall or uninstall {plugin.distribution}" if not plugin.path else f"correct {plugin.path}"
    if trouble:
        plugin.set_aside(*(explain_import(trouble, plugin) or (f"its import failed: {trouble}", reinstall)))
        return
    try:
        module = importer()
    except (Exception, SystemExit) as error:
        trouble = f"{type(error).__name__}: {error}"
        plugin.set_aside(*(explain_import(trouble, plugin) or (f"its import failed: {trouble}", reinstall)))
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
            plugin.set_aside(
                f"{caller.name} is a hook wrapper", "yield specs instead; wrappers are not allowed for this hook"
            )
            continue
        try:
            specs = list(cast(Iterable[object], implementation.function() or ()))
        except (Exception, SystemExit) as error:
            message = str(error).rstrip(".") if isinstance(error, MtbenchError) else f"{type(error).__name__}: {error}"
            plugin.set_aside(f"{caller.name} failed: {message}", "correct the hook")
            continue
        for spec in specs:
            if isinstance(spec, (Spec, SuiteSpec)) and spec.kind == kind:
                registry.add(plugin, spec)
            else:
                plugin.set_aside(
                    f"{caller.name} yielded {type(spec).__name__} {spec!r:.60}",
                    f"yield mtbench.{KINDS[kind].__name__} objects",
                )
