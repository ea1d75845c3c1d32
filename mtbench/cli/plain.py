"""The plain table in which verbs print what is not a results table."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text


def plain_table(title: str) -> Table:
    """A table without columns yet: a bold title on the left, one line under the heading, no frame."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="", box=box.SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True
    return table
