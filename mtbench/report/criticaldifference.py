"""Critical-difference diagrams: mean ranks on a line, bars over methods without a significant difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mtbench.analysis.nemenyi import CriticalDifference
from mtbench.errors import RequestError
from mtbench.report.heatmap import ENDINGS


def draw(differences: Sequence[CriticalDifference], path: Path) -> None:
    """Draw one diagram for each metric and result, one below the other.

    Args:
        differences: from :func:`mtbench.analysis.compare.compare`.
        path: a PNG, SVG or PDF file.

    Raises:
        RequestError: unknown file format, or the file cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"unknown file format '{path.suffix}'", expected="one of " + ", ".join(ENDINGS))
    heights = [1.2 + 0.22 * ((len(critical.ranks) + 1) // 2) + 0.12 * len(critical.groups) for critical in differences]
    figure: Any = Figure(figsize=(7, sum(heights)), layout="constrained")
    axes = figure.subplots(len(differences), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, critical in zip(axes, differences, strict=True):
        _diagram(axis, critical)
    try:
        figure.savefig(path, dpi=200)
    except OSError as error:
        raise RequestError(f"cannot write the diagram: {error.strerror}", where=str(path)) from error


def _diagram(axis: Any, critical: CriticalDifference) -> None:
    """The scale at height 0, bars below it, then the names: the better half to the left, the others to the right."""
    count = len(critical.ranks)
    bars = 0.35 * len(critical.groups)
    rows = (count + 1) // 2
    axis.set_xlim(1 - 0.45 * count, count + 0.45 * count)
    axis.set_ylim(-(bars + 0.6 * rows + 0.8), 1.6)
    axis.axis("off")
    axis.set_title(
        f"{critical.metric} ({critical.side}): mean rank over {critical.tasks} tasks", loc="left", fontsize=9
    )
    axis.plot([1, count], [0, 0], color="black", lw=1)
    for place in range(1, count + 1):
        axis.plot([place, place], [0, 0.15], color="black", lw=1)
        axis.text(place, 0.25, str(place), ha="center", va="bottom", fontsize=8)
    axis.plot([1, 1 + critical.difference], [1, 1], color="black", lw=1.5)
    axis.text(
        1 + critical.difference / 2, 1.08, f"critical difference {critical.difference:.2f}", ha="center", fontsize=7
    )
    for level, group in enumerate(critical.groups, 1):
        ends = [critical.ranks[group[0]] - 0.05, critical.ranks[group[-1]] + 0.05]
        axis.plot(ends, [-0.35 * level] * 2, color="black", lw=3.5, solid_capstyle="butt")
    for i, (name, rank) in enumerate(critical.ranks.items()):
        left = i < rows
        depth = -(bars + 0.5 + 0.6 * (i if left else count - 1 - i))
        end = 1 - 0.08 * count if left else count + 0.08 * count
        axis.plot([rank, rank, end], [0, depth, depth], color="gray", lw=0.7)
        # "$" would start mathematics.
        text = f"{name} {rank:.2f}".replace("$", r"\$")
        axis.text(
            end, depth, f"{text} " if left else f" {text}", ha="right" if left else "left", va="center", fontsize=8
        )
