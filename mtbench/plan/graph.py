"""What a plan is made of: units, and the rows they fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtbench.hashing import hash_of
from mtbench.plan.suite import Suite
from mtbench.stages.unit import Unit

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
    """Units in an order in which they can run, and rows.

    Attributes:
        codes: the identity of each plugin's code, by kind and name; see ``mtbench/registry/codeid.py``.
    """

    suite: Suite
    units: dict[str, Unit] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    codes: dict[tuple[str, str], str | None] = field(default_factory=dict)
