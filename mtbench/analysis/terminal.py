"""The results table in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtbench.analysis.model import Head, ResultsTable, Section

_BREAKS = ("", r"(?=\[)", r"(?=\[)|(?<=\]) (?=\S{2})", r"(?=\[)|(?<=\]) (?=\S{2})|(?<=,)|(?<=\w-)(?=\w)")
"""Where headings may be broken, from nowhere to many places: before a bracket, after it, at commas and hyphens."""
_WIDEST = 10**6
_SUPERSCRIPTS = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹˒")


def render(table: ResultsTable, console: Console) -> None:
    """Print a table for each task, then footnotes and remarks.

    Markup in names has no effect. If the console is not a terminal, so that bold is invisible, best and runner-up are
    enclosed in ``**`` and ``__``.
    """
    if not table.sections:
        console.print(Text("No scores to show."))
    for section in table.sections:
        if section.heading:
            console.print(Text(section.heading, style="bold yellow"))
        parts: dict[str, list[int]] = {}
        for i, column in enumerate(section.columns):
            parts.setdefault("" if section.transposed else column.task, []).append(i)
        for title, columns in parts.items():
            console.print(_fitting(section, title, columns, console))
    for number, text in enumerate(table.footnotes, 1):
        console.print(Text(f"{_notes((number,))} {text}", style="dim"))
    for text in table.remarks:
        console.print(Text(text, style="dim"))


def _fitting(section: Section, title: str, columns: Sequence[int], console: Console) -> Table:
    """The table with headings broken only as far as its width requires."""
    for breaks in _BREAKS:
        table = _rich(section, title, columns, not console.is_terminal, breaks)
        if table.__rich_measure__(console, console.options.update(width=_WIDEST)).maximum <= console.width:
            break
    return table


def _rich(section: Section, title: str, columns: Sequence[int], plain: bool, breaks: str) -> Table:
    """One task of a section; transposed, all of it."""
    grid = section.grid()
    rich_table = Table(title=Text(title) if title else None, title_justify="left", title_style="bold", header_style="")
    rich_table.add_column(grid.corner)
    if section.transposed:
        for head in grid.header[-1]:
            rich_table.add_column(_head(head, breaks), justify="right", overflow="fold")
    else:
        for i in columns:
            column = section.columns[i]
            heading = _head(Head(column.title, notes=column.notes), breaks)
            rich_table.add_column(heading, justify="right", overflow="fold")
    for row in grid.body:
        if row.rule:
            rich_table.add_section()
        if row.group:
            rich_table.add_row(Text(row.group, style="italic"))
        texts = []
        for cell in row.cells if section.transposed else [row.cells[i] for i in columns]:
            style = "bold" if cell.best else "underline" if cell.runner_up else "" if cell.status == "ok" else "dim"
            fence = "**" if plain and cell.best else "__" if plain and cell.runner_up else ""
            texts.append(Text.assemble(fence, (cell.text, style), fence, cell.suffix, _notes(cell.notes)))
        rich_table.add_row(_head(row.head), *texts)
    return rich_table


def _head(head: Head, breaks: str = "") -> Text:
    text = re.sub(breaks, "\n", head.text) if breaks else head.text
    return Text(text + "†" * head.dagger + _notes(head.notes))


def _notes(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers)).translate(_SUPERSCRIPTS)
