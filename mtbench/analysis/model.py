"""The results table for exporters: printed text with its marks, and the values behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Status = Literal["ok", "missing", "failed", "skipped"]
Spread = Literal["none", "interval", "bound", "std"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: the printed text: the value, "–" if nothing was measured, "failed" or "skipped".
        suffix: spread and rank after the value, if requested (" ± 0.02", " [0.9, 1.0] (2)").
        spread: the printed numbers of the spread in ``suffix``: a standard deviation, or both ends of an interval.
        status: "ok" if there is a value, or a word that stands for one ("blind").
        value, std, low, high: mean over seeds and folds; standard deviation over seeds; confidence interval.
        bound_low, bound_high: limits for the expected mean that hold for any distribution of the cases.
        seeds, folds: number of averaged seeds and folds.
        rank: 1 is best, with ties at the printed precision; ``None`` if the cell is not ranked.
        best: whether it is printed in bold: rank 1, with a significant lead if only those are bold.
        runner_up: whether it is printed underlined: rank 2.
        notes: numbers of its footnotes.
    """

    text: str = "–"
    suffix: str = ""
    spread: tuple[str, ...] = ()
    status: Status = "missing"
    value: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    bound_low: float | None = None
    bound_high: float | None = None
    seeds: int = 0
    folds: int = 0
    rank: int | None = None
    best: bool = False
    runner_up: bool = False
    notes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """A heading over columns or at the start of a row.

    Attributes:
        text: the printed text, including arrow and mark.
        span: number of columns below it (in a header row).
        notes: numbers of its footnotes.
        dagger: whether a dagger follows (a conditional translator).
    """

    text: str
    span: int = 1
    notes: tuple[int, ...] = ()
    dagger: bool = False


@dataclass(frozen=True)
class TableColumn:
    """One column: one metric on one task.

    Attributes:
        task: the printed title of its task (dataset and domains).
        group: the heading over it and its neighbours ("Dice ↑", "Perceptual metrics").
        name: its own heading ("Breast", "FID* ↓").
        title: both, for formats with one header row ("Dice Breast ↑", "FID* ↓").
        dataset, metric, variant, label: identity.
        higher_is_better, measure_unit: of its values.
        caveat: why it is shown separately; empty in the main section.
        details: the remaining columns of the scores table that its values share.
        notes: numbers of the footnotes that all of its cells share.
    """

    task: str
    group: str
    name: str
    title: str
    dataset: str
    metric: str
    variant: str
    label: str
    higher_is_better: bool
    measure_unit: str
    caveat: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class TableRow:
    """One row: a translator, or a reference row.

    Attributes:
        label: the printed name.
        role: "translator"; the reference rows "truth", "ceiling", "floor" and "oracle" are below the rule.
        translator, params: identity; ``params`` holds the parameters that differ from the defaults.
        conditional: whether it is printed with a dagger.
        cells: one for each column of the section.
        notes: numbers of the footnotes that all of its cells share.
    """

    label: str
    role: str
    translator: str
    params: Mapping[str, Any]
    conditional: bool
    cells: tuple[Cell, ...]
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class GridRow:
    """One printed line: a heading and its cells, with a rule above it if ``rule`` is set."""

    head: Head
    cells: tuple[Cell, ...]
    rule: bool = False
    group: str = ""


@dataclass(frozen=True)
class Grid:
    """A section laid out for printing.

    Attributes:
        corner: the heading of the first column.
        header: header rows from top to bottom; the spans of each add up to the number of columns.
        body: the lines. A non-empty ``group`` is printed across the table before its line.
        joints: positions (from 1) after which a new task begins.
    """

    corner: str
    header: tuple[tuple[Head, ...], ...]
    body: tuple[GridRow, ...]
    joints: tuple[int, ...] = ()


@dataclass(frozen=True)
class Section:
    """Columns that may be read side by side.

    Attributes:
        heading: empty for the main section; otherwise the caveat of its columns.
        columns, rows: its content.
        transposed: whether :meth:`grid` puts translators side by side.
        corner: the heading of the rows' names.
    """

    heading: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    transposed: bool = False
    corner: str = "Method"

    def grid(self) -> Grid:
        """The section laid out for printing."""
        if self.transposed:
            return _transposed(self)
        top: list[Head] = []
        middle: list[Head] = []
        for i, column in enumerate(self.columns):
            new_task = i == 0 or column.task != self.columns[i - 1].task
            if new_task:
                top.append(Head(column.task))
            else:
                top[-1] = Head(column.task, top[-1].span + 1)
            if new_task or column.group != self.columns[i - 1].group:
                middle.append(Head(column.group))
            else:
                middle[-1] = Head(column.group, middle[-1].span + 1)
        bottom = tuple(Head(column.name, notes=column.notes) for column in self.columns)
        body = [
            GridRow(
                Head(row.label, notes=row.notes, dagger=row.conditional),
                row.cells,
                rule=row.role != "translator" and i > 0 and self.rows[i - 1].role == "translator",
            )
            for i, row in enumerate(self.rows)
        ]
        ends: list[int] = []
        for head in top[:-1]:
            ends.append((ends[-1] if ends else 0) + head.span)
        return Grid(self.corner, (tuple(top), tuple(middle), bottom), tuple(body), tuple(ends))


@dataclass(frozen=True)
class ResultsTable:
    """A table of results.

    Attributes:
        title: a caption.
        sections: the main one, then one for each caveat.
        footnotes: the sentences behind the footnote numbers; the first is number 1.
        remarks: warnings about whole columns or tasks, then the legend, a line for each subject.
        rule: the ranking rule, "default" or "paper".
        spread, ranks: what follows each value.
    """

    title: str
    sections: tuple[Section, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...]
    rule: str = "default"
    spread: Spread = "none"
    ranks: bool = False

    def _repr_html_(self) -> str:
        """HTML for notebooks: the terminal's output in colour."""
        from io import StringIO

        from mtbench.analysis.terminal import render
        from mtbench.screen import Screen

        console = Screen(file=StringIO(), record=True, width=160, force_terminal=True)
        render(self, console)
        return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.3">{code}</pre>')

    def merged(self) -> Section:
        """All columns in one section, for formats that hold one table."""
        rows: list[TableRow] = []
        for row in {(row.role, row.label): row for section in self.sections for row in section.rows}.values():
            cells: list[Cell] = []
            for section in self.sections:
                same = [r for r in section.rows if (r.role, r.label) == (row.role, row.label)]
                cells += same[0].cells if same else [Cell()] * len(section.columns)
            rows.append(replace(row, cells=tuple(cells)))
        columns = tuple(column for section in self.sections for column in section.columns)
        transposed = any(section.transposed for section in self.sections)
        return Section("", columns, tuple(rows), transposed, self.sections[0].corner if self.sections else "Method")


def _transposed(section: Section) -> Grid:
    header = tuple(Head(row.label, notes=row.notes, dagger=row.conditional) for row in section.rows)
    body = []
    for i, column in enumerate(section.columns):
        new_task = i == 0 or column.task != section.columns[i - 1].task
        cells = tuple(row.cells[i] for row in section.rows)
        head = Head(column.title, notes=column.notes)
        body.append(GridRow(head, cells, rule=new_task and i > 0, group=column.task if new_task else ""))
    return Grid("Metric", (header,), tuple(body))
