"""Comma-separated values, for spreadsheets and data frames: one header row, numbers as printed or nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.analysis.model import Cell, ResultsTable


def safe(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def number(cell: Cell) -> str:
    """The number as printed; empty where there is none, so that a column is read as floats."""
    if cell.status != "ok" or cell.value is None:
        return ""
    try:
        float(cell.text)
    except ValueError:
        return repr(cell.value)
    return cell.text


class Csv:
    """Writes one table, all sections in one: a column's caveat stands in its header.

    Where nothing was measured, or a unit failed, the cell is empty; why stands under "Notes".

    Spreads and ranks have columns of their own, and so have the footnotes of a line.
    """

    def export(self, table: ResultsTable) -> str:
        """The table as CSV text, lines ending in a line feed."""
        section = table.merged()
        methods = [safe(row.label) + "†" * row.conditional for row in section.rows]
        metrics = [safe(" | ".join(filter(None, (c.task, c.title, c.caveat)))) for c in section.columns]
        cells: list[Sequence[Cell]] = [row.cells for row in section.rows]
        corner, row_names, column_names = "Method", methods, metrics
        own = [row.notes for row in section.rows]
        if section.transposed:
            corner, row_names, column_names, cells = "Metric", metrics, methods, list(zip(*cells, strict=True))
            own = [column.notes for column in section.columns]
        spread = any(cell.suffix for line in cells for cell in line)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        heads = [head for name in column_names for head in ((name, f"{name} | spread") if spread else (name,))]
        writer.writerow([corner, *heads, "Notes"])
        for name, line, first in zip(row_names, cells, own, strict=True):
            texts = [text for c in line for text in ((number(c), c.suffix.strip()) if spread else (number(c),))]
            numbers = dict.fromkeys([*first, *(note for cell in line for note in cell.notes)])
            writer.writerow([name, *texts, safe(" ".join(table.footnotes[n - 1] for n in numbers))])
        return out.getvalue()
