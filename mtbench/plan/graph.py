"""The contents of a plan: units, and the rows that they fill."""

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
        "beside",
    }
)
"""Columns that describe a row and are not part of its identity."""


@dataclass(frozen=True)
class Row:
    """One future row of the results: the identifying columns, and the score unit that fills it.

    Attributes:
        columns: of the ``scores`` table, as far as they are known before the run.
        unit: key of the score unit; empty if the row is skipped.
        fits: keys of the fits that it depends on.
        skipped: why it is not computed.
    """

    columns: Mapping[str, Any]
    unit: str = ""
    fits: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def id(self) -> str:
        """The identity of the row in a results directory: a later row of the same id replaces it."""
        return hash_of({name: value for name, value in self.columns.items() if name not in _DESCRIPTIVE})


@dataclass
class Plan:
    """Units, in an order in which they can run, and rows.

    Attributes:
        codes: the identity of each plugin's code, by kind and name; see ``mtbench/registry/codeid.py``.
    """

    suite: Suite
    units: dict[str, Unit] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    codes: dict[tuple[str, str], str | None] = field(default_factory=dict)
