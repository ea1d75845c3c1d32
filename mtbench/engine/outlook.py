"""The expected cost of a plan's units, estimated from earlier runs in the store, and problems that would stop them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mtbench.engine.space import estimate
from mtbench.errors import MtbenchError
from mtbench.plan import Plan
from mtbench.plan.address import raw_files
from mtbench.registry.registry import Registry
from mtbench.results.directory import Results
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Store
from mtbench.store.files import read_regular

_RUNS = 20
"""The most results directories whose attempts are read, the most recently changed first."""


@dataclass(frozen=True)
class Load:
    """Units of one kind to compute.

    Attributes:
        stage, plugin: of the units.
        units: their number.
        seconds: the expected time, one unit at a time; ``None`` if no earlier run in the store computed such a unit.
    """

    stage: str
    plugin: str
    units: int
    seconds: float | None


@dataclass(frozen=True)
class Outlook:
    """The expected cost of a plan.

    Attributes:
        problems: paths that do not exist and patterns that match nothing, one sentence each.
        loads: by kind of unit, in the order of the graph.
        bytes: expected disk space.
    """

    problems: tuple[str, ...]
    loads: tuple[Load, ...]
    bytes: int

    @property
    def seconds(self) -> float:
        """The expected seconds of all kinds with known times, one unit at a time."""
        return sum(load.seconds or 0.0 for load in self.loads)

    @property
    def unknown(self) -> int:
        """The number of units of a kind that no earlier run computed."""
        return sum(load.units for load in self.loads if load.seconds is None)


def outlook(plan: Plan, registry: Registry, store: Store, status: Mapping[str, str]) -> Outlook:
    """Estimate the cost of the units of ``plan`` whose ``status``, by key, is not "cached". Reads no image."""
    rest = [unit for key, unit in plan.units.items() if status[key] != "cached"]
    kinds: dict[tuple[str, str], int] = {}
    for unit in rest:
        kinds[unit.stage, unit.plugin] = kinds.get((unit.stage, unit.plugin), 0) + 1
    known = _seconds(store) if rest else {}
    loads = []
    for (stage, plugin), count in kinds.items():
        each = known.get((stage, plugin))
        loads.append(Load(stage, plugin, count, None if each is None else count * median(each)))
    return Outlook(
        tuple(dict.fromkeys(_problems(rest, registry))),
        tuple(loads),
        estimate(plan, (unit.key for unit in rest), store),
    )


def _problems(units: Iterable[Unit], registry: Registry) -> Iterator[str]:
    for unit in units:
        if unit.paths:
            try:
                raw_files(unit, registry)
            except MtbenchError as error:
                yield str(error)


def _seconds(store: Store) -> dict[tuple[str, str], list[float]]:
    """The seconds of units in the runs that used the store, by stage and plugin."""
    result: dict[tuple[str, str], list[float]] = {}
    plugins: dict[tuple[str, str], str] = {}
    for results in _runs(store):
        with contextlib.suppress(MtbenchError, OSError):
            for attempt in Results.open(results).table("attempts").to_pylist():
                if attempt["status"] == "ok" and attempt["seconds"]:
                    place = attempt["stage"], attempt["artefact"]
                    if place not in plugins:
                        artefact = store.get(*place) if attempt["artefact"] else None
                        plugins[place] = str(artefact.manifest["unit"].get("plugin", "")) if artefact else ""
                    result.setdefault((attempt["stage"], plugins[place]), []).append(float(attempt["seconds"]))
    return result


def _runs(store: Store) -> list[Path]:
    """The results directories that use the store and exist."""
    folders = []
    for note in (store.root / "users").glob("*.json"):
        with contextlib.suppress(MtbenchError, OSError, ValueError, KeyError):
            folder = Path(json.loads(read_regular(note))["results"])
            folders.append((folder.stat().st_mtime, folder))
    return [folder for _, folder in sorted(folders, reverse=True)[:_RUNS]]
