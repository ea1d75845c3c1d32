"""Figures for a paper, drawn by matplotlib: the example images of Figure 1 and the table as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mtbench.analysis.correlation import Correlations
from mtbench.analysis.model import Cell, ResultsTable, Section
from mtbench.errors import RequestError
from mtbench.report.examples import Example, Image, TaskExamples
from mtbench.report.heatmap import draw as draw_heatmap
from mtbench.report.heatmap import plain, save
from mtbench.report.pixels import colour, edges

TILE = 1.25
"""Inches of an image's side."""

ROW, CHARACTER = 0.24, 0.078
"""Inches of a table's line and of one of its characters."""


def draw_examples(tasks: Sequence[TaskExamples], path: Path) -> str:
    """One line of images for each slice: source, every translator, a real target example; reference labels as outlines.

    Of a source with several channels the first is drawn, and its name is in the heading.

    Raises:
        RequestError: there are no images, or the file cannot be written.
    """
    lines = [(task, example) for task in tasks for example in task.examples]
    if not lines:
        reasons = dict.fromkeys(task.problem for task in tasks if task.problem)
        raise RequestError(
            "no images to draw" + "".join(f": {reason}" for reason in reasons),
            expected="results with images in the store",
        )
    names = list(dict.fromkeys(view.label for _, example in lines for view in example.views))
    width, heights = (len(names) + 2) * TILE, [TILE * e.sources[0].shape[0] / e.sources[0].shape[1] for _, e in lines]
    figure: Any = Figure(figsize=(width + 0.35, sum(heights) + 0.35), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    axes = figure.subplots(len(lines), len(names) + 2, squeeze=False, height_ratios=heights)
    for row, (task, example) in enumerate(lines):
        pictures = _pictures(task, example, names)
        for column, (name, image, mask) in enumerate(pictures):
            axis = axes[row][column]
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_visible(False)
            if image is None:
                axis.text(0.5, 0.5, "not in\nthe store", ha="center", va="center", fontsize=7, transform=axis.transAxes)
            else:
                axis.imshow(_with_outline(image, mask), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            if row == 0 or (task is not lines[row - 1][0] and column in (0, len(pictures) - 1)):
                axis.set_title(plain(name), fontsize=8, pad=3)
        axes[row][0].set_ylabel(plain(_shorten(task.title.partition(":")[0])), fontsize=8)
    return save(figure, path)


def _pictures(
    task: TaskExamples, example: Example, names: Sequence[str]
) -> list[tuple[str, Image | None, Image | None]]:
    views = {view.label: view for view in example.views}
    middle = [
        (name + "†" * view.conditional, view.image, example.source_mask)
        if (view := views.get(name))
        else (name, None, None)
        for name in names
    ]
    # One column for the source, whatever the number of its channels in each task.
    name = " ".join((task.source, *task.channels[:1]))
    first = (f"source: {name}", example.sources[0], example.source_mask)
    return [first, *middle, (f"target: {task.target}", example.target, example.target_mask)]


def _with_outline(image: Image, mask: Image | None) -> Image:
    """The image as RGB with its labels' outlines, drawn finer than a pixel if the image is small."""
    factor = max(1, 512 // max(image.shape))
    fine = np.repeat(np.repeat(image, factor, 0), factor, 1)
    rgb = np.stack([fine] * 3, axis=-1)
    if mask is not None:
        labels = np.repeat(np.repeat(mask, factor, 0), factor, 1)
        border = edges(labels)
        # Two pixels wide, so that it survives low print resolutions.
        border = (border | np.roll(border, 1, 0) | np.roll(border, 1, 1)) & (labels > 0)
        for value in np.unique(labels[border]):
            rgb[border & (labels == value)] = colour(int(value))
    return rgb


def draw_correlation(correlations: Correlations, path: Path, where: str) -> str:
    """The paper's Figure 2; as :func:`mtbench.report.heatmap.draw`.

    Raises:
        RequestError: nothing to draw, or the file cannot be written.
    """
    if not correlations.items:
        raise RequestError(
            "no correlations to draw",
            where=where,
            expected="a segmentation metric and another metric on the same task",
        )
    return draw_heatmap(correlations, path)


def draw_table(table: ResultsTable, path: Path) -> str:
    """The table with its rules, best in bold and runner-up underlined, one block below the other.

    Raises:
        RequestError: there are no scores, or the file cannot be written.
    """
    if not table.sections:
        raise RequestError("no scores to show", remedy="Run a suite with `mtbench run` first")
    blocks = [_lines(section) for section in table.sections]
    widths = [[max(_length(line[i]) for line in lines) + 2 for i in range(len(lines[0]))] for _, lines, _ in blocks]
    width = max(3.0, max(sum(of) for of in widths) * CHARACTER)
    notes = [
        line
        for n, text in enumerate(table.footnotes, 1)
        for line in textwrap.wrap(f"{_marks((n,))} {text}", max(20, int(width / CHARACTER * 1.15)))
    ]
    height = (sum(len(lines) + 0.8 + bool(heading) for heading, lines, _ in blocks) + 0.8 * len(notes)) * ROW
    figure: Any = Figure(figsize=(width, height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)
    axis.axis("off")
    y = 0.6 * ROW
    for (heading, lines, rules), of in zip(blocks, widths, strict=True):
        if heading:
            axis.text(0.05, y, plain(heading), fontsize=8, style="italic", va="center")
            y += ROW
        edge = sum(of) * CHARACTER
        axis.plot((0, edge), (y - ROW / 2, y - ROW / 2), color="black", linewidth=1.2)
        for number, line in enumerate(lines):
            if number in rules:
                axis.plot((0, edge), (y - ROW / 2, y - ROW / 2), color="black", linewidth=0.5)
            _print(axis, line, of, y)
            y += ROW
        axis.plot((0, edge), (y - ROW / 2, y - ROW / 2), color="black", linewidth=1.2)
        y += 0.8 * ROW
    for note in notes:
        axis.text(0.05, y - 0.4 * ROW, plain(note), fontsize=6.5, va="center")
        y += 0.8 * ROW
    return save(figure, path)


CellText = tuple[str, str]
"""Printed text and its style: "", "best", "second", "head" or "span:N"."""


def _lines(section: Section) -> tuple[str, list[list[CellText]], set[int]]:
    """Heading, lines of entries, and the lines that have a rule above them."""
    grid = section.grid()
    lines: list[list[CellText]] = []
    for depth, header in enumerate(grid.header):
        line: list[CellText] = [(grid.corner if depth == len(grid.header) - 1 else "", "head")]
        for head in header:
            line += [(head.text + _marks(head.notes), f"span:{head.span}"), *[("", "")] * (head.span - 1)]
        lines.append(line)
    rules = {len(lines)}
    for row in grid.body:
        if row.rule:
            rules.add(len(lines))
        if row.group:
            lines.append([(row.group, "head"), *[("", "")] * len(row.cells)])
        name = row.head.text + "†" * row.head.dagger + _marks(row.head.notes)
        lines.append([(name, "head"), *(_cell_text(cell) for cell in row.cells)])
    return section.heading, lines, rules


def _cell_text(cell: Cell) -> CellText:
    style = "best" if cell.best else "second" if cell.runner_up else ""
    return cell.text + cell.suffix + _marks(cell.notes), style


def _marks(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _length(entry: CellText) -> int:
    # A heading over several columns does not widen them.
    return 0 if entry[1].startswith("span:") and entry[1] != "span:1" else len(entry[0])


def _print(axis: Any, line: Sequence[CellText], widths: Sequence[int], y: float) -> None:
    left = 0.0
    for i, ((text, style), width) in enumerate(zip(line, widths, strict=True)):
        right = left + width * CHARACTER
        if i == 0:
            axis.text(left + 0.05, y, plain(text), fontsize=8, va="center")
        elif style.startswith("span:") and style != "span:1":
            over = sum(widths[i : i + int(style[5:])]) * CHARACTER
            axis.text(left + over / 2, y, plain(text), fontsize=8, va="center", ha="center")
        elif text:
            label = axis.text(
                right - CHARACTER / 2,
                y,
                plain(text),
                fontsize=8,
                va="center",
                ha="right",
                weight="bold" if style == "best" else "normal",
            )
            if style == "second":
                axis.annotate(
                    "",
                    xy=(0, -0.12),
                    xytext=(1, -0.12),
                    xycoords=label,
                    textcoords=label,
                    arrowprops={"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
                )
        left = right


def _shorten(text: str, longest: int = 24) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
