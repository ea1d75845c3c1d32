"""LaTeX with booktabs: a table environment to paste into a paper."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.analysis.model import Cell, Head, ResultsTable, Section

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"''",
    "`": r"\textasciigrave{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "°": r"$^{\circ}$",
    "\N{NO-BREAK SPACE}": "~",
}
_PLAIN_LETTERS = frozenset("ßæÆøØœŒłŁåÅ")
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327")

_LETTERS = r"\providecommand{\mtbenchletters}[2]{\ifdefined\Umathchar#1\else#2\fi}"
"""XeLaTeX and LuaLaTeX print any letter of their font; pdfLaTeX prints the code point instead of an error."""


def escape(text: str) -> str:
    """Text that every LaTeX prints unchanged; a letter that pdfLaTeX lacks becomes its code point."""
    return "".join(_character(c) for c in " ".join(unicodedata.normalize("NFC", text).split()))


def _character(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return ""
    if c.isascii() or c in _PLAIN_LETTERS:
        return c
    parts = unicodedata.normalize("NFD", c)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return c
    return rf"\mtbenchletters{{{c}}}{{U+{ord(c):04X}}}"


_SHRINK = r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"


class Latex:
    """Writes a ``table`` environment, shrunk if it is wider than the line.

    The document must load booktabs and graphicx.

    Args:
        label: for ``\\ref``.
        notes: whether footnotes (with their numbers in the cells) and the legend are printed.
    """

    def __init__(self, label: str = "tab:mtbench", notes: bool = True) -> None:
        self._label = label
        self._notes = notes

    def export(self, table: ResultsTable) -> str:
        """The environment; a comment names the packages that it needs."""
        lines = [r"% Needs \usepackage{booktabs,graphicx}", r"\begin{table}", r"\centering", r"\small"]
        tasks = dict.fromkeys(column.task for section in table.sections for column in section.columns)
        title = table.title or f"Scores of {'; '.join(tasks)}."
        lines.append(rf"\caption{{{escape(title)}}}")
        if self._label:
            lines.append(rf"\label{{{self._label}}}")
        if not self._notes:
            table = _without_notes(table)
        for section in table.sections:
            if section.heading:
                lines += ["", rf"\par\medskip {escape(section.heading)}\par\smallskip"]
            lines += _section(section)
        notes = [rf"\textsuperscript{{{i}}} {escape(text)}" for i, text in enumerate(table.footnotes, 1)]
        notes += [escape(text) for text in table.remarks]
        if notes:
            body = "\\par\n".join(notes)
            lines += [
                r"\par\medskip",
                r"\begin{minipage}{\linewidth}\footnotesize",
                body,
                r"\end{minipage}",
            ]
        lines.append(r"\end{table}")
        text = "\n".join(lines) + "\n"
        if r"\mtbenchletters" in text:
            text = f"{_LETTERS}\n{text}"
        return text


def _without_notes(table: ResultsTable) -> ResultsTable:
    sections = []
    for section in table.sections:
        columns = tuple(replace(column, notes=()) for column in section.columns)
        rows = tuple(
            replace(row, notes=(), cells=tuple(replace(cell, notes=()) for cell in row.cells)) for row in section.rows
        )
        sections.append(replace(section, columns=columns, rows=rows))
    return replace(table, sections=tuple(sections), footnotes=(), remarks=())


def _section(section: Section) -> list[str]:
    grid = section.grid()
    width = sum(head.span for head in grid.header[-1])
    lines = [rf"\sbox0{{\begin{{tabular}}{{l{'r' * width}}}", r"\toprule"]
    for depth, header in enumerate(grid.header):
        last = depth == len(grid.header) - 1
        cells = [rf"\multicolumn{{{head.span}}}{{c}}{{{_head(head)}}}" for head in header]
        lines.append(f"{escape(grid.corner) if last else ''} & {' & '.join(cells)} \\\\")
        if not last:
            lines.append(_midrules(header))
    lines.append(r"\midrule")
    for row in grid.body:
        if row.rule:
            lines.append(r"\midrule")
        if row.group:
            lines.append(rf"\multicolumn{{{width + 1}}}{{l}}{{{escape(row.group)}}} \\")
        name = _head(row.head)
        # LaTeX would read a bracket or a star after \\ as its argument.
        name = f"{{}}{name}" if name[:1] in ("[", "*") else name
        lines.append(f"{name} & {' & '.join(_cell(cell) for cell in row.cells)} \\\\")
    return [*lines, r"\bottomrule", r"\end{tabular}}", _SHRINK]


def _midrules(header: tuple[Head, ...]) -> str:
    rules, position = [], 2
    for head in header:
        rules.append(rf"\cmidrule(lr){{{position}-{position + head.span - 1}}}")
        position += head.span
    return " ".join(rules)


def _head(head: Head) -> str:
    return escape(head.text) + (r"$^{\dagger}$" if head.dagger else "") + _notes(head.notes)


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if text.startswith("-") and cell.status == "ok":
        text = f"$-${text[1:]}"
    if cell.best:
        text = rf"\textbf{{{text}}}"
    elif cell.runner_up:
        text = rf"\underline{{{text}}}"
    suffix = escape(cell.suffix)
    return text + (f" {suffix}" if suffix else "") + _notes(cell.notes)


def _notes(numbers: tuple[int, ...]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, numbers))}}}" if numbers else ""
