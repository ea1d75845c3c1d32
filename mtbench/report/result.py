"""The input of a report: the three tables of a result, and the printed names of their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.analysis.gather import ROWS, gather, normalise
from mtbench.analysis.groups import combine
from mtbench.analysis.layout import TableLayout
from mtbench.results.directory import load
from mtbench.results.identity import BLOCK, COLUMN


@dataclass(frozen=True)
class Run:
    """One score of one run, placed in the table.

    Attributes:
        id: of its row in the results directory.
        block, row, column: its place in the table, as in :class:`TableLayout`.
        unit: key of the score unit.
        family: of its metric.
        fold, seed: of the run; ``None`` if it has none.
    """

    id: str
    block: int
    row: int
    column: int
    unit: str
    family: str
    fold: int | None
    seed: int | None


@dataclass(frozen=True)
class CaseValues:
    """The values of one run by case.

    Attributes:
        run: the score they belong to.
        by: "slice", "volume" or "patient".
        cases: ids of slices or patients.
        values: float64; NaN if a case has no value.
    """

    run: Run
    by: str
    cases: tuple[str, ...]
    values: NDArray[np.float64]


class Result:
    """The tables of a result and their printed names.

    Args:
        results: a results directory, or ``published:NAME``.
        rows, datasets, columns: translators, tasks and metrics to show; all if empty.
        rename: printed names for translators, metrics and datasets.

    Raises:
        RequestError: there is no such result, or a name matches nothing.
        DataError: the scores have another schema.
    """

    def __init__(
        self,
        results: str,
        *,
        rows: Sequence[str] = (),
        datasets: Sequence[str] = (),
        columns: Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> None:
        self.name = results
        self._private = private
        self.selection: dict[str, Any] = {"rows": rows, "datasets": datasets, "columns": columns}
        self.rename = dict(rename or {})
        self.scores = load(results, private=private)
        self.averages = gather(self.scores)
        self.layout = TableLayout(self.averages, self.rename, columns, rows, datasets)
        self._places = [
            {tuple(entry[k] for k in keys): number for number, entry in enumerate(entries)}
            for keys, entries in (
                (BLOCK, self.averages.blocks),
                (ROWS, self.averages.rows),
                (COLUMN, self.averages.columns),
            )
        ]

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt of every unit, oldest first."""
        rows: list[dict[str, Any]] = load(self.name, "attempts", private=self._private).to_pylist()
        return rows

    @property
    def blocks(self) -> list[int]:
        """The tasks that are shown, in order."""
        return list(dict.fromkeys(b for b, _ in self.layout.columns))

    def column_name(self, column: int) -> str:
        """The printed name of a column with its region ("Dice[slice] breast")."""
        return f"{self.layout.names[column]} {self.averages.columns[column]['label']}".strip()

    @cached_property
    def runs(self) -> list[Run]:
        """Every measured score of the translators shown, in the order of the table's rows."""
        return self.runs_of("translator")

    def runs_of(self, *roles: str) -> list[Run]:
        """Every measured score of the rows shown that have one of these roles, in the order of the table's rows."""
        rows, places = set(self.layout.rows), set(self.layout.columns)
        runs = []
        for record in normalise(self.scores).to_pylist():
            if record["status"] != "measured" or record["role"] not in roles or not record["unit_key"]:
                continue
            block, row, column = (
                index.get(tuple(record[k] for k in keys))
                for index, keys in zip(self._places, (BLOCK, ROWS, COLUMN), strict=True)
            )
            if row in rows and (block, column) in places:
                assert block is not None
                assert row is not None
                assert column is not None
                own = (record[name] for name in ("unit_key", "family", "fold", "seed"))
                runs.append(Run(record["row_id"], block, row, column, *own))
        order = {row: position for position, row in enumerate(self.layout.rows)}
        return sorted(runs, key=lambda run: order[run.row])

    @cached_property
    def cases(self) -> list[CaseValues]:
        """The per-case values of every run that has them."""
        table = load(self.name, "cases")
        if not table.num_rows:
            return []
        keys = ["row_id", "label", "by"]
        of, first = combine([table[k] for k in keys])
        heads = table.select(keys).take(first).to_pylist()
        order = np.argsort(of, kind="stable")
        ends = np.searchsorted(of[order], np.arange(len(first)), side="right")
        values = np.asarray(table["value"].to_numpy(), dtype=np.float64)
        runs: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            runs.setdefault((run.id, self.averages.columns[run.column]["label"]), []).append(run)
        cases = []
        for number, head in enumerate(heads):
            for run in runs.get((head["row_id"], head["label"] or ""), ()):
                at = order[(ends[number - 1] if number else 0) : ends[number]]
                cases.append(CaseValues(run, head["by"], tuple(table["case"].take(at).to_pylist()), values[at]))
        return cases
