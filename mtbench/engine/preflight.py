"""Checks for problems that would stop a run, and reports all of them before any unit starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mtbench.compute.devices import resolve_device
from mtbench.compute.weights import find
from mtbench.engine.amounts import size
from mtbench.engine.maker import states
from mtbench.engine.space import estimate
from mtbench.errors import MtbenchError, ParamError, PluginError, RequestError, WeightsError
from mtbench.plan import Plan
from mtbench.registry.contracts import Executor, Placement
from mtbench.registry.probing import Imports, trial
from mtbench.registry.registry import Registry
from mtbench.store.artefacts import Store


def preflight(plan: Plan, registry: Registry, store: Store, executor: Executor, device: str | None = None) -> str:
    """Check for what is missing or fails, before any unit starts.

    These are weight files, required parameters, data and other paths, imports of plugins, and what the executor needs.
    If the executor runs units on this machine, the requested ``device`` must be on it.

    Returns:
        A sentence about disk space if, by an estimate, it does not suffice; otherwise empty.

    Raises:
        MtbenchError: there is one problem.
        RequestError: there are several; all are listed.
    """
    problems: list[MtbenchError] = [*_weights(plan, registry), *_unset(plan, registry)]
    seen: set[tuple[str, str]] = set()
    for unit in plan.units.values():
        for name, location in sorted(unit.paths.items()):
            if (name, location) not in seen and not Path(location).exists():
                where = f"{unit.kind or unit.stage} '{unit.plugin or unit.name}'"
                what = f"'{name}' names {location}, which does not exist"
                problems.append(RequestError(what, where=where, remedy="Correct the path"))
            seen.add((name, location))
    problems += _imports(plan, registry)
    problems += [RequestError(text, where="the executor") for text in executor.problems(device or "")]
    if device and isinstance(executor, Placement) and executor.here:
        try:
            resolve_device(device)
        except RequestError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise RequestError(f"{len(problems)} problems (no unit was started):\n{lines}")
    place = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free > 100e9:
        return ""
    rest = [key for key, state in states(plan, registry, store).items() if state != "cached"]
    need = estimate(plan, rest, store)
    if need <= free:
        return ""
    return f"The disk may be too small: {len(rest)} units may need {size(need)}; {size(free)} free at {place}."


def _weights(plan: Plan, registry: Registry) -> Iterator[MtbenchError]:
    weights: dict[str, list[str]] = {}
    for unit in plan.units.values():
        # A cached fit needed them only during training.
        if unit.plugin and "fit" not in unit.inputs:
            for name in registry.get(unit.kind, unit.plugin).spec.weight_files(unit.params):
                users = weights.setdefault(name, [])
                users += [unit.plugin] if unit.plugin not in users else []
    for name, users in weights.items():
        try:
            find(name)
        except WeightsError as error:
            yield WeightsError(
                error.what,
                where=f"{', '.join(users)} (no unit was started)",
                expected=error.expected,
                remedy=error.remedy,
            )


def _unset(plan: Plan, registry: Registry) -> Iterator[MtbenchError]:
    """Required parameters without a value, each once."""
    unset: dict[tuple[str, str, str], str] = {}
    for unit in plan.units.values():
        for name, param in registry.get(unit.kind, unit.plugin).spec.params.items() if unit.plugin else ():
            if param.required and unit.params[name] is None:
                unset[unit.kind, unit.plugin, name] = param.help
    for (kind, plugin, name), text in unset.items():
        yield ParamError(
            f"parameter '{name}' is not set",
            where=f"{kind} '{plugin}' (no unit was started)",
            expected=text or "a value",
            remedy=f"Set it in the suite{f' beside extractor = {plugin!r}' if kind == 'extractor' else ''}",
        )


def _imports(plan: Plan, registry: Registry) -> Iterator[MtbenchError]:
    """Import the heavy modules of third-party plugins in another process, because they may hang or crash."""
    imports: dict[str, Imports] = {}
    for kind, name in sorted({(unit.kind, unit.plugin) for unit in plan.units.values() if unit.plugin}):
        registration = registry.get(kind, name)
        plugin = registration.plugin
        if not plugin.built_in:
            module = registration.spec.factory.partition(":")[0]
            others = imports[plugin.origin].modules if plugin.origin in imports else ()
            imports[plugin.origin] = Imports(plugin.path, (*others, *([module] if module else [])))
    for position, problem in sorted(trial(list(imports.values())).items()):
        yield PluginError(
            f"a module that it needs cannot be imported: {problem}",
            where=list(imports)[position],
            remedy="Install the missing module, or do not select this plugin",
        )
