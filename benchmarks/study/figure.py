"""The figure of docs/metric-study.md: agreement with placement, by metric, question and task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from verdicts import YARDSTICKS, candidates, checkpoints, fits

COLOURS = ("tab:blue", "tab:cyan", "tab:orange")


def draw(results: Sequence[Path], file: Path) -> None:
    """Two panels, checkpoints and fits: a point with its 95 % interval for each metric and task; 0.5 is chance."""
    tasks = [candidates(path) for path in results]
    names = list(dict.fromkeys(name for task in tasks for name in task.names if name != YARDSTICKS[0]))
    figure, panels = plt.subplots(1, 2, figsize=(10, 0.34 * len(names) + 1), sharey=True, layout="constrained")
    for panel, question in zip(panels, (checkpoints, fits), strict=True):
        for place, task in enumerate(tasks):
            yardstick = task.number(YARDSTICKS[0])
            for row, name in enumerate(names):
                estimate = question(task, task.number(name), yardstick)
                low, high = estimate.interval
                height = len(names) - row + 0.25 * (1 - place)
                panel.plot([low, high], [height, height], color=COLOURS[place], linewidth=1)
                panel.plot(estimate.value, height, "o", color=COLOURS[place], markersize=3)
        panel.axvline(0.5, color="grey", linewidth=0.8, linestyle=":")
        panel.set_xlim(0, 1)
        panel.set_xlabel(f"agreement with placement: {question.__name__}")
    panels[0].set_ylim(0.4, len(names) + 0.6)
    panels[0].set_yticks(range(len(names), 0, -1), names, fontsize=7)
    handles = [plt.Line2D([], [], color=c, marker="o", markersize=3) for c in COLOURS[: len(tasks)]]
    panels[0].legend(handles, [task.name for task in tasks], fontsize=7, loc="lower left")
    figure.savefig(file, dpi=150)
