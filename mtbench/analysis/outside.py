"""Endpoints of the user's own, matched with the tasks and translators of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from mtbench.analysis.endpoints import Endpoints
from mtbench.analysis.gather import Averages
from mtbench.analysis.layout import TableLayout
from mtbench.errors import RequestError, close_matches

T = TypeVar("T")


class Outside:
    """Endpoints, matched by names or printed names.

    Attributes:
        endpoints: as read.

    Raises:
        RequestError: a name matches nothing, or several translators.
    """

    def __init__(self, averages: Averages, layout: TableLayout, endpoints: Endpoints) -> None:
        self.endpoints, self._labels = endpoints, layout.labels
        every = [r for r in layout.labels if averages.rows[r]["role"] == "translator"]
        self._rows = {name: self._row(averages, name, every) for name in endpoints.translators}
        self._tasks = {b: (averages.blocks[b]["dataset"], layout.titles[b]) for b in layout.titles}
        for name in endpoints.datasets:
            if name and not any(name in names for names in self._tasks.values()):
                raise self._unknown("dataset", name, [names[0] for names in self._tasks.values()])

    def _row(self, averages: Averages, name: str, every: Sequence[int]) -> int:
        rows = [r for r in every if self._labels[r] == name] or [
            r for r in every if averages.rows[r]["translator"] == name
        ]
        if len(rows) > 1:
            raise RequestError(
                f"{self.endpoints.file}: '{name}' is the name of {len(rows)} translators",
                expected="their printed names: " + ", ".join(self._labels[r] for r in rows),
            )
        if not rows:
            raise self._unknown("translator", name, [self._labels[r] for r in every])
        return rows[0]

    def _unknown(self, kind: str, name: str, known: Sequence[str]) -> RequestError:
        return RequestError(
            f"{self.endpoints.file}: the results have no {kind} '{name}'",
            expected="one of " + ", ".join(known),
            matches=close_matches(name, known),
        )

    def by_row(self, b: int, values: Mapping[tuple[str, str], T]) -> dict[int, T]:
        """The ``values`` of a task (by dataset and translator, as the table names them) by row of the result."""
        return {self._rows[name]: value for (task, name), value in values.items() if task in ("", *self._tasks[b])}

    def remarks(self, points: Sequence[int], averaged: bool = True) -> tuple[str, ...]:
        """What the endpoints are, and which translators lack them; ``averaged``: each value is a mean over cases."""
        file, cases = self.endpoints.file, self.endpoints.cases if averaged else 0
        lower = [column.name for column in self.endpoints.columns if not column.higher_is_better]
        texts = [f"Endpoints: {file}{f', means over {cases} cases' if cases else ''}"]
        texts[0] += f"; lower is better: {', '.join(lower)}." if lower else "."
        missing = [self._labels[r] for r in points if r not in self._rows.values()]
        return (*texts, *([f"Not in {file}: {', '.join(missing)}."] if missing else []))
