"""Comma-separated values for spreadsheets and data frames: one header row, each cell a number as printed or empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.analysis.model import Cell, ResultsTable, Spread


def safe(text: str) -> str:
    """Text that no spreadsheet reads as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def number(text: str, value: float) -> str:
    """The number as printed, or in full if the printed text is not a float."""
    try:
        float(text)
    except ValueError:
        return repr(value)
    return text


ENDS: Mapping[Spread, Sequence[str]] = {
    "none": (),
    "interval": ("low", "high"),
    "bound": ("bound low", "bound high"),
    "std": ("std",),
}
"""What the columns behind a number hold, by the spread of the table."""


class Csv:
    """Writes all sections as one table; a column's caveat is in its header.

    A cell without a score is empty, and the reason is in the column "Notes".

    Every number has a separate column, so each column is read as floats: the value, then each number of the spread
    ("low" and "high", or "std"), then the rank, if they are requested. The footnotes of a row have a column too.
    """

    def export(self, table: ResultsTable) -> str:
        """The table as CSV text, lines ending in a line feed."""
        section = table.merged()
        methods = [safe(row.label) + "†" * row.conditional for row in section.rows]
        metrics = [safe(" | ".join(filter(None, (c.task, c.title, c.caveat)))) for c in section.columns]
        cells: list[Sequence[Cell]] = [row.cells for row in section.rows]
        corner, row_names, column_names = section.corner, methods, metrics
        own = [row.notes for row in section.rows]
        if section.transposed:
            corner, row_names, column_names, cells = "Metric", metrics, methods, list(zip(*cells, strict=True))
            own = [column.notes for column in section.columns]
        ends = [*ENDS[table.spread], *["rank"] * table.ranks]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        heads = [head for name in column_names for head in (name, *(f"{name} | {end}" for end in ends))]
        writer.writerow([corner, *heads, "Notes"])
        for name, line, first in zip(row_names, cells, own, strict=True):
            texts = [text for cell in line for text in _texts(cell, table)]
            numbers = dict.fromkeys([*first, *(note for cell in line for note in cell.notes)])
            writer.writerow([name, *texts, safe(" ".join(table.footnotes[n - 1] for n in numbers))])
        return out.getvalue()


def _texts(cell: Cell, table: ResultsTable) -> list[str]:
    """The texts of a cell's columns, empty where it has neither a number nor a word for one."""
    text = safe(cell.text) if cell.value is None else number(cell.text, cell.value)
    value = text if cell.status == "ok" else ""
    spread = cell.spread or [""] * len(ENDS[table.spread])
    return [value, *spread, *[str(cell.rank or "")] * table.ranks]
