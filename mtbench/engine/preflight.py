"""What stands in the way of a run, reported all at once before any work starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mtbench.compute.devices import resolve_device
from mtbench.compute.weights import find
from mtbench.engine.amounts import size
from mtbench.engine.maker import states
from mtbench.engine.space import estimate
from mtbench.errors import MtbenchError, PluginError, RequestError, WeightsError
from mtbench.plan import Plan
from mtbench.registry.contracts import Executor, Placement
from mtbench.registry.probing import Imports, trial
from mtbench.registry.registry import Registry
from mtbench.store.artefacts import Store


def preflight(plan: Plan, registry: Registry, store: Store, executor: Executor, device: str | None = None) -> str:
    """Look for what is missing: weight files, data and other paths, imports of plugins, what the executor needs.

    A ``device`` that was asked for must be on this machine if the executor's units are.

    Returns:
        A remark about disk space, where an estimate says that it will not suffice; else empty.

    Raises:
        MtbenchError: one thing is missing.
        RequestError: several are; all are listed.
    """
    problems: list[MtbenchError] = [*_weights(plan, registry)]
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
        raise RequestError(f"{len(problems)} things stand in the way (no work was started):\n{lines}")
    place = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free > 100e9:
        return ""
    rest = [key for key, state in states(plan, registry, store).items() if state != "cached"]
    need = estimate(plan, rest, store)
    if need <= free:
        return ""
    return f"The {len(rest)} units to come may need {size(need)}; {size(free)} are free at {place}."


def _weights(plan: Plan, registry: Registry) -> Iterator[MtbenchError]:
    weights: dict[str, list[str]] = {}
    for unit in plan.units.values():
        # What has been fitted needed them in its fit.
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
                where=f"{', '.join(users)} (before any work was started)",
                expected=error.expected,
                remedy=error.remedy,
            )


def _imports(plan: Plan, registry: Registry) -> Iterator[MtbenchError]:
    """The heavy modules of plugins that are not our own, imported elsewhere: they may hang or crash."""
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
            f"what it needs cannot be imported: {problem}",
            where=list(imports)[position],
            remedy="Install what is missing, or leave its plugins out",
        )
