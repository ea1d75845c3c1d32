"""The paper's Figure 2 as a heat map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtbench.analysis.correlation import Correlations
from mtbench.errors import RequestError

ENDINGS = (".png", ".svg", ".pdf")


def draw(found: Correlations, path: Path) -> None:
    """Draw one panel for each task: metrics against segmentation metrics, Pearson, coloured by agreement.

    Args:
        found: from :func:`mtbench.analysis.correlation.correlate`; by the rule "paper", absolute values.
        path: a PNG, SVG or PDF file.

    Raises:
        RequestError: matplotlib is not installed, the ending is another, or the file cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"a heat map cannot be written as '{path.suffix}'", expected="one of " + ", ".join(ENDINGS))
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError("a heat map needs matplotlib", remedy="pip install matplotlib") from error

    absolute = found.rule == "paper"
    tasks = list(dict.fromkeys(item.task for item in found.items))
    panels = [_panel(found, task, absolute) for task in tasks]
    widths = [max(1.6, 0.95 * len(against)) for _, against, _ in panels]
    rows = max(len(metrics) for metrics, _, _ in panels)
    figure: Any = Figure(figsize=(sum(widths) + 1.7 * len(panels) + 1, 0.5 * rows + 1.9), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    image = None
    for axis, task, (metrics, against, values) in zip(axes, tasks, panels, strict=True):
        shown = [[float("nan") if v is None else v for v in line] for line in values]
        image = axis.imshow(
            shown, cmap="Blues" if absolute else "RdBu", vmin=0 if absolute else -1, vmax=1, aspect="auto"
        )
        axis.set_xticks(range(len(against)), [_plain(a) for a in against], rotation=25, ha="right")
        axis.set_yticks(range(len(metrics)), [_plain(m) for m in metrics])
        axis.set_title(_plain(task), fontsize=10)
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                text = "–" if value is None else f"{value:.2f}" if absolute else f"{value:+.2f}"
                dark = value is not None and abs(value) > 0.6
                axis.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
    label = "|Pearson|" if absolute else "Pearson, positive: agreement"
    figure.colorbar(image, ax=list(axes), label=label)
    descriptive = [remark for remark in found.remarks if remark.startswith("Descriptive only")]
    if descriptive:
        figure.supxlabel(descriptive[0], fontsize=8)
    try:
        figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as error:
        raise RequestError(f"the heat map cannot be written: {error.strerror}", where=str(path)) from error


def _panel(found: Correlations, task: str, absolute: bool) -> tuple[list[str], list[str], list[list[float | None]]]:
    """Metrics, segmentation metrics, and the value of each pair."""
    items = [item for item in found.items if item.task == task]
    metrics = list(dict.fromkeys(item.metric for item in items))
    against = list(dict.fromkeys(item.against for item in items))
    values: dict[tuple[str, str], float | None] = {}
    for item in items:
        estimate = item.estimates["pearson"]
        raw = estimate.value if absolute else estimate.agreement
        values[item.metric, item.against] = abs(raw) if absolute and raw is not None else raw
    return metrics, against, [[values.get((m, a)) for a in against] for m in metrics]


def _plain(text: str) -> str:
    """Text in which matplotlib sees no mathematics."""
    return text.replace("$", r"\$")
