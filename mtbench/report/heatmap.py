"""The paper's Figure 2 as a heat map."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from mtbench.analysis.correlation import FEWEST_DRAWN, Correlations, drawable, panel, undrawn
from mtbench.analysis.numbers import format_coefficient
from mtbench.errors import RequestError, warn

ENDINGS = (".png", ".svg", ".pdf")

FONTS = (
    "DejaVu Sans",
    *("Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS"),
)
"""The installed ones among these are tried for each character."""


def draw(correlations: Correlations, path: Path) -> str:
    """Draw one panel for each task: metrics against segmentation metrics, Pearson, coloured by agreement.

    Pairs of metrics with fewer than ``FEWEST_DRAWN`` translators are not drawn; a warning names their tasks.

    Args:
        correlations: from :func:`mtbench.analysis.correlation.correlate`; with the rule "paper", absolute values.
        path: a PNG, SVG or PDF file.

    Returns:
        As :func:`save`.

    Raises:
        RequestError: unknown file format, nothing to draw, or the file cannot be written.
    """
    check(path)
    absolute = correlations.rule == "paper"
    shown, reasons = drawable(correlations), [f"{task}: {text}" for task, text in undrawn(correlations).items()]
    if not shown:
        raise RequestError(
            " ".join(reasons) or "no heat map: every correlation is undefined",
            expected=f"a task with scores of at least {FEWEST_DRAWN} translators",
            remedy="`mtbench correlate` without --heatmap prints the coefficients",
        )
    for reason in reasons:
        warn(reason)
    panels = [panel(items, absolute) for items in shown.values()]
    widths = [max(1.6, 0.95 * len(against)) for _, against, _ in panels]
    rows = max(len(metrics) for metrics, _, _ in panels)
    figure: Any = Figure(figsize=(sum(widths) + 1.7 * len(panels) + 1, 0.5 * rows + 1.9), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    image = None
    for axis, task, (metrics, against, values) in zip(axes, shown, panels, strict=True):
        cells = [[float("nan") if v is None else v for v in line] for line in values]
        image = axis.imshow(
            cells, cmap="Blues" if absolute else "RdBu", vmin=0 if absolute else -1, vmax=1, aspect="auto"
        )
        axis.set_xticks(range(len(against)), [plain(a) for a in against], rotation=25, ha="right")
        axis.set_yticks(range(len(metrics)), [plain(m) for m in metrics])
        axis.set_title(plain(task), fontsize=10)
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                text = format_coefficient(value, absolute)
                dark = value is not None and abs(value) > 0.6
                axis.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
    label = "|Pearson r|" if absolute else "Pearson r (positive: agreement)"
    figure.colorbar(image, ax=list(axes), label=label)
    descriptive = [remark for remark in correlations.remarks if remark.startswith("Descriptive only")]
    if descriptive:
        figure.supxlabel(descriptive[0], fontsize=8)
    return save(figure, path)


def plain(text: str) -> str:
    """Text with matplotlib's mathematics escaped."""
    return text.replace("$", r"\$")


def check(path: Path) -> None:
    """Refuse an unknown file format.

    Raises:
        RequestError: the ending is not .png, .svg or .pdf.
    """
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"unknown file format '{path.suffix}' for a figure", expected="one of " + ", ".join(ENDINGS))


def save(figure: Any, path: Path) -> str:
    """Write a figure without a date, so that the same figure gives the same file.

    Returns:
        The characters that no installed font has; they are drawn as boxes.

    Raises:
        RequestError: the file cannot be written.
    """
    available = {font.name for font in fontManager.ttflist}
    fonts = [font for font in FONTS if font in available]
    for text in figure.findobj(Text):
        text.set_family(fonts)
    ending = path.suffix.lower().lstrip(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
    # Text stays text, so that readers can search it and editors can change it.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "mtbench", "pdf.fonttype": 42}
    buffer = io.BytesIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, format=ending, dpi=300, metadata=metadata)
    try:
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise RequestError(f"cannot write the figure: {error.strerror}", where=str(path)) from error
    matches = (re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught)
    return "".join(dict.fromkeys(chr(int(match[1])) for match in matches if match))
