"""Markdown that GitHub and most other programs read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.analysis.model import Cell, Head, ResultsTable, Section

_SPECIAL = re.compile(r"[\\`*_|~$]|\](?=\()")


def escape(text: str) -> str:
    """Text that Markdown shows unchanged."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\g<0>", text)


class Markdown:
    """Writes tables for GitHub-flavoured Markdown.

    Its tables have one header row and no spans: the header holds the tasks, the first row the names of the columns.
    """

    def export(self, table: ResultsTable) -> str:
        """The table as Markdown text."""
        parts = [f"**{escape(table.title)}**"] if table.title else []
        for section in table.sections:
            if section.heading:
                parts.append(f"**{escape(section.heading)}**")
            parts.append(_section(section))
        notes = [f"<sup>{i}</sup> {escape(text)}" for i, text in enumerate(table.footnotes, 1)]
        notes += [escape(text) for text in table.remarks]
        if notes:
            parts.append("  \n".join(notes))
        return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    grid = section.grid()
    width = sum(head.span for head in grid.header[-1])
    if section.transposed:
        lines = [[grid.corner, *(_head(h) for h in grid.header[-1])]]
    else:
        names = [_head(h, text=c.title) for h, c in zip(grid.header[-1], section.columns, strict=True)]
        tasks = [cell for head in grid.header[0] for cell in (_head(head), *[""] * (head.span - 1))]
        lines = [[grid.corner, *tasks], ["", *(f"**{name}**" for name in names)]]
    lines.insert(1, ["---", *["---:"] * width])
    reference = False  # a Markdown table has no inner rule: the rows below one are set in italics
    for row in grid.body:
        reference = reference or (row.rule and not section.transposed)
        if row.group:
            lines.append([f"**{escape(row.group)}**", *[""] * width])
        name = _head(row.head)
        lines.append([f"*{name}*" if reference else name, *(_cell(c) for c in row.cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(head: Head, text: str | None = None) -> str:
    return escape(head.text if text is None else text) + "†" * head.dagger + _notes(head.notes)


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.best:
        text = f"**{text}**"
    elif cell.runner_up:
        text = f"<u>{text}</u>"
    return text + (f" {escape(cell.suffix)}" if cell.suffix else "") + _notes(cell.notes)


def _notes(numbers: tuple[int, ...]) -> str:
    return f"<sup>{','.join(map(str, numbers))}</sup>" if numbers else ""
