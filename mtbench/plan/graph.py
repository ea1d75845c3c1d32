"""What a plan is made of: units, and the rows they fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtbench.data import Task
from mtbench.plan.suite import Suite
from mtbench.registry.discovery import Registry
from mtbench.store.artefacts import hash_of

_DESCRIPTIVE = frozenset(
    {
        "dataset_revision",
        "source_domain",
        "target_domain",
        "task_note",
        "conditional",
        "title",
        "family",
        "higher_is_better",
        "unit",
        "decimals",
        "caveat",
    }
)
"""Columns that say more of a row without making it another one."""


@dataclass(frozen=True)
class Unit:
    """One piece of work, named by the hash of all that was asked of it.

    Attributes:
        key: sha256 over ``request`` and the keys in ``inputs``.
        request: sha256 over what is asked of this unit itself: everything below that changes the result, the
            plugin's and the stage's revision, but not the inputs.
        stage: one of ``mtbench.stages.STAGES``.
        kind, plugin: whose code does it; empty for the split stage.
        params: the plugin's parameters, complete; paths as written.
        paths: path parameters (and a dataset's "root") resolved on this machine; not in the key.
        seed: of the fit or sampling; ``None`` where it has none.
        inputs: role to the key of the unit that gives it.
        options: what the stage itself needs to know (domain, split, ...).
        precision, threads: of its arithmetic.
        name: what a person calls it; not in the key.
        task: the task it belongs to.
        version: of its plugin and stage, for tables; see ``Choice.version``. All of it is in the key.
    """

    key: str
    request: str
    stage: str
    kind: str
    plugin: str
    params: Mapping[str, Any]
    paths: Mapping[str, str]
    seed: int | None
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    precision: str
    threads: int
    name: str
    task: Task
    version: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of the results to be: the identifying columns, and the score unit that fills it.

    Attributes:
        columns: of the ``scores`` table, as far as known beforehand.
        unit: key of the score unit; empty where the row is skipped.
        fits: keys of the fits behind it.
        skipped: why there is nothing to compute.
    """

    columns: Mapping[str, Any]
    unit: str = ""
    fits: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def id(self) -> str:
        """The identity of the row in a results directory: a later row of the same id takes its place."""
        return hash_of({name: value for name, value in self.columns.items() if name not in _DESCRIPTIVE})


@dataclass
class Plan:
    """Units in an order in which they can run, and rows."""

    suite: Suite
    units: dict[str, Unit] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def weights(self, registry: Registry) -> dict[str, list[str]]:
        """Catalogued weight files that units must have, each with the names of the plugins that ask for it."""
        needed: dict[str, list[str]] = {}
        for unit in self.units.values():
            if unit.kind in ("extractor", "translator") and unit.stage != "translate":
                spec = registry.get(unit.kind, unit.plugin).spec
                if unit.paths.get("weights"):
                    continue
                for name in spec.weights:
                    users = needed.setdefault(name, [])
                    if unit.plugin not in users:
                        users.append(unit.plugin)
        return needed
