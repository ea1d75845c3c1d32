"""HTML: a small self-contained page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.analysis.model import Cell, Head, ResultsTable, Section

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; margin: 1rem 0; }
caption { caption-side: top; text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { font-weight: 500; }
thead th { text-align: center; }
thead tr:last-child th { border-bottom: 1px solid; }
tbody th { text-align: left; }
tr.rule > * { border-top: 1px solid; }
.joint { padding-left: 1.8rem; }
.none { opacity: .65; }
u { text-underline-offset: 3px; }
footer { font-size: .87em; max-width: 60rem; }
""".strip()


class Html:
    """Writes a page with a light and a dark style and no scripts."""

    def export(self, table: ResultsTable) -> str:
        """The page."""
        title = escape(table.title or "Results")
        sections = "\n".join(_section(section, title if i == 0 else "") for i, section in enumerate(table.sections))
        notes = "".join(f"<li>{escape(text)}</li>\n" for text in table.footnotes)
        remarks = "".join(f"<p>{escape(text)}</p>\n" for text in table.remarks)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
            f"<style>\n{_STYLE}\n</style>\n</head>\n<body>\n{sections}\n<footer>\n"
            + (f"<ol>\n{notes}</ol>\n" if notes else "")
            + f"{remarks}</footer>\n</body>\n</html>\n"
        )


def _section(section: Section, title: str) -> str:
    grid = section.grid()
    joints = set(grid.joints)
    caption = escape(section.heading) or title
    lines = ['<div class="wide">', "<table>", f"<caption>{caption}</caption>" if caption else "", "<thead>"]
    for depth, header in enumerate(grid.header):
        heads, position = [], 0
        if depth == 0:
            heads.append(f'<th scope="col" rowspan="{len(grid.header)}">{escape(grid.corner)}</th>')
        for head in header:
            scope = "colgroup" if head.span > 1 else "col"
            span = f' colspan="{head.span}"' if head.span > 1 else ""
            joint = ' class="joint"' if position in joints else ""
            heads.append(f'<th scope="{scope}"{span}{joint}>{_head(head)}</th>')
            position += head.span
        lines.append(f"<tr>{''.join(heads)}</tr>")
    lines += ["</thead>", "<tbody>"]
    width = 1 + sum(head.span for head in grid.header[-1])
    for row in grid.body:
        rule = ' class="rule"' if row.rule else ""
        if row.group:
            lines.append(f'<tr{rule}><th scope="rowgroup" colspan="{width}">{escape(row.group)}</th></tr>')
            rule = ""
        cells = "".join(_cell(cell, i in joints) for i, cell in enumerate(row.cells))
        lines.append(f'<tr{rule}><th scope="row">{_head(row.head)}</th>{cells}</tr>')
    return "\n".join(filter(None, [*lines, "</tbody>", "</table>", "</div>"]))


def _head(head: Head) -> str:
    dagger = '<abbr title="conditional">†</abbr>' if head.dagger else ""
    return escape(head.text) + dagger + _notes(head.notes)


def _cell(cell: Cell, joint: bool) -> str:
    text = escape(cell.text)
    if cell.best:
        text = f"<strong>{text}</strong>"
    elif cell.runner_up:
        text = f"<u>{text}</u>"
    classes = " ".join(["joint"] * joint + ["none"] * (cell.status != "ok"))
    start = f'<td class="{classes}">' if classes else "<td>"
    return f"{start}{text}{escape(cell.suffix)}{_notes(cell.notes)}</td>"


def _notes(numbers: tuple[int, ...]) -> str:
    return f"<sup>{','.join(map(str, numbers))}</sup>" if numbers else ""
