"""The report's charts as Plotly figures: data and layout without colours; the page adds those of its theme."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.analysis.correlation import FEWEST_DRAWN, Correlation, Correlations, drawable, panel
from mtbench.analysis.numbers import format_coefficient, format_number
from mtbench.report.attempts import Cost
from mtbench.report.curves import Curve
from mtbench.report.result import Result

MOST_POINTS = 250
"""The most cases drawn per translator; with more, evenly spaced order statistics are drawn."""

LABEL_POSITIONS = ("top center", "bottom center", "middle right", "top left")


@dataclass(frozen=True)
class Drawing:
    """One drawing of a chart: its name in the list, and Plotly's data and layout."""

    name: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart; with several drawings, it has a list to choose from.

    Attributes:
        id: unique in the page.
        title: its caption.
        alt: a description for readers who do not see it.
        drawings: at least one.
        choice: label of the list ("Pair", "Metric").
        task: the task it belongs to; empty if it is about all.
    """

    id: str
    title: str
    alt: str
    drawings: tuple[Drawing, ...]
    choice: str = ""
    task: str = ""


def plain(text: str) -> str:
    """Text with Plotly's markup escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def correlation_charts(result: Result, correlations: Correlations) -> list[Chart]:
    """For each task a heat map of agreement and a scatter plot to choose a pair for."""
    charts, shown = [], drawable(correlations)
    for number, task in enumerate(dict.fromkeys(item.task for item in correlations.items)):
        items = [item for item in correlations.items if item.task == task]
        if task in shown:
            charts.append(_heat_map(f"heat-{number}", task, shown[task], correlations.rule == "paper"))
        points = _scatter(f"scatter-{number}", task, items, result)
        charts += [points] if points.drawings else []
    return charts


def _heat_map(name: str, task: str, items: Sequence[Correlation], absolute: bool) -> Chart:
    metrics, against, z = panel(items, absolute)
    counts = {(item.metric, item.against): f"{item.n} translators" for item in items}
    data = {
        "type": "heatmap",
        "x": [plain(a) for a in against],
        "y": [plain(m) for m in metrics],
        "z": z,
        "text": [[format_coefficient(value, absolute) for value in line] for line in z],
        "customdata": [[counts.get((metric, other), "") for other in against] for metric in metrics],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}<br>%{x}<br>r = %{text}, %{customdata}<extra></extra>",
        "zmin": 0 if absolute else -1,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "colorbar": {"title": {"text": "|r|" if absolute else "r", "side": "top"}, "thickness": 10, "outlinewidth": 0},
    }
    layout = {
        "height": 150 + 42 * len(metrics),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        "xaxis": {"automargin": True, "type": "category", "tickangle": -25 if len(against) > 3 else 0},
    }
    statistic = "absolute Pearson correlation" if absolute else "Pearson correlation, positive values mean agreement"
    alt = f"Heat map for {task}: {statistic}. The table below has the same numbers."
    return Chart(name, "Agreement with segmentation", alt, (Drawing("", [data], layout),), task=task)


def _scatter(name: str, task: str, items: Sequence[Correlation], result: Result) -> Chart:
    averages, layout = result.averages, result.layout
    block = next(b for b in result.blocks if layout.titles[b] == task)
    columns = {result.column_name(c): c for b, c in layout.columns if b == block}
    drawings = []
    for item in sorted(items, key=lambda i: -abs(i.estimates["pearson"].value or 0.0)):
        if item.metric not in columns or item.against not in columns:
            continue
        x, y = columns[item.metric], columns[item.against]
        points = [
            (layout.labels[r], averages.numbers[block, r, x].value, averages.numbers[block, r, y].value)
            for r in layout.rows
            if averages.rows[r]["role"] == "translator"
            and (block, r, x) in averages.numbers
            and (block, r, y) in averages.numbers
        ]
        points = sorted((p for p in points if math.isfinite(p[1]) and math.isfinite(p[2])), key=lambda p: p[1:])
        of_kind = {part: [p for p in points if (p[0] in item.translators) == part] for part in (True, False)}
        traces = [_points(some, part) for part, some in of_kind.items() if some]
        if traces:
            titles = {axis: _arrow(result, c) for axis, c in (("xaxis", x), ("yaxis", y))}
            axes = {
                axis: {
                    "title": {"text": plain(titles[axis])},
                    "automargin": True,
                    "range": _range([value for trace in traces for value in trace[axis[0]]]),
                }
                for axis in titles
            }
            r = item.estimates["pearson"].agreement
            coefficient = "" if r is None or item.n < FEWEST_DRAWN else f" (r = {r:+.2f})"
            drawings.append(Drawing(f"{item.metric} and {item.against}{coefficient}", traces, {"height": 420, **axes}))
    alt = f"Scatter plot for {task}: two metrics against each other, one labelled point per translator."
    return Chart(name, "One point per translator", alt, tuple(drawings), "Pair", task)


def _points(points: Sequence[tuple[str, float, float]], included: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [x for _, x, _ in points],
        "y": [y for _, _, y in points],
        "text": [plain(label) for label, _, _ in points],
        # Neighbouring points have their labels on different sides.
        "textposition": [LABEL_POSITIONS[i % len(LABEL_POSITIONS)] for i in range(len(points))],
        "cliponaxis": False,
        "hovertemplate": "%{text}<br>%{xaxis.title.text} %{x:.4g}<br>%{yaxis.title.text} %{y:.4g}<extra></extra>",
        "marker": {"size": 10, "symbol": "circle" if included else "circle-open"},
        "name": "included" if included else "excluded from the correlation",
        "showlegend": not included,
    }


def _range(values: Sequence[float]) -> list[float]:
    """From the smallest to the largest value, with room for labels."""
    low, high = min(values), max(values)
    room = 0.15 * (high - low) or abs(high) * 0.1 or 1.0
    return [low - room, high + room]


def _arrow(result: Result, column: int) -> str:
    return f"{result.column_name(column)} {'↑' if result.averages.columns[column]['higher_is_better'] else '↓'}"


def case_charts(result: Result) -> list[tuple[Chart, list[tuple[str, list[list[str]]]]]]:
    """For each task the distribution of per-case values by translator, and the quartiles for each metric."""
    charts = []
    for number, block in enumerate(result.blocks):
        title = result.layout.titles[block]
        drawings, tables = [], []
        for column in [c for b, c in result.layout.columns if b == block]:
            groups = _case_means(result, block, column)
            if not groups:
                continue
            name = result.column_name(column)
            traces = [
                {
                    "type": "box",
                    "y": _thin(values).tolist(),
                    "name": plain(result.layout.labels[row]),
                    "boxpoints": "all",
                    "jitter": 0.5,
                    "pointpos": 0,
                    "marker": {"size": 4, "opacity": 0.45},
                    "line": {"width": 1.5},
                    "hoverinfo": "y+name",
                    "showlegend": False,
                }
                for row, values in groups.items()
            ]
            layout = {
                "height": 420,
                "boxgap": max(0.3, 1 - 0.07 * len(groups)),
                "yaxis": {"title": {"text": plain(_arrow(result, column))}, "automargin": True},
                "xaxis": {"type": "category", "automargin": True},
            }
            drawings.append(Drawing(name, traces, layout))
            tables.append((name, [_quartiles(result.layout.labels[row], v) for row, v in groups.items()]))
        if drawings:
            alt = f"Box plots for {title}: per-case values by translator. The table below has the quartiles."
            charts.append((Chart(f"cases-{number}", "Values by case", alt, tuple(drawings), "Metric", title), tables))
    return charts


def _case_means(result: Result, block: int, column: int) -> dict[int, NDArray[np.float64]]:
    """By row, one finite value per case; seeds are averaged."""
    sums: dict[int, dict[tuple[int | None, str], list[float]]] = {}
    for case_values in result.cases:
        if (case_values.run.block, case_values.run.column) == (block, column):
            of_row = sums.setdefault(case_values.run.row, {})
            for case, value in zip(case_values.cases, case_values.values.tolist(), strict=True):
                if math.isfinite(value):
                    of_row.setdefault((case_values.run.fold, case), []).append(value)
    return {row: np.array([np.mean(v) for v in of.values()]) for row, of in sums.items() if of}


def _thin(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) <= MOST_POINTS:
        return np.round(values, 5)
    places = np.round(np.linspace(0, len(values) - 1, MOST_POINTS)).astype(int)
    return np.asarray(np.sort(values)[places].round(5), dtype=np.float64)


def _quartiles(label: str, values: NDArray[np.float64]) -> list[str]:
    points = np.percentile(values, [0, 25, 50, 75, 100]).tolist()
    return [label, str(len(values)), *map(format_number, points)]


def curve_charts(curves: Sequence[Curve]) -> list[Chart]:
    """Losses and validation scores of every fit."""
    drawings = []
    for curve in curves:
        traces = [
            {
                "type": "scatter",
                "mode": "lines" if len(steps) > 1 else "markers",
                "x": steps,
                "y": values,
                "name": plain(name if phase == "train" else f"{name} (validation)"),
                "line": {"dash": "solid" if phase == "train" else "dot", "width": 1.6},
                "hovertemplate": "step %{x}: %{y:.4g}",
            }
            for (phase, name), (steps, values) in curve.series.items()
        ]
        layout = {
            "height": 420,
            "hovermode": "x unified",
            "xaxis": {"title": {"text": "step"}, "automargin": True},
            "yaxis": {"automargin": True},
        }
        drawings.append(Drawing(curve.name, traces, layout))
    if not drawings:
        return []
    alt = "Line chart: losses and validation scores of a fit by training step. The table below has the last values."
    return [Chart("curves", "Training curves", alt, tuple(drawings), "Fit")]


def cost_charts(costs: Sequence[Cost]) -> list[Chart]:
    """Seconds by stage, images per second and peak memory by unit."""
    seconds: dict[str, float] = {}
    for cost in costs:
        seconds[cost.stage] = seconds.get(cost.stage, 0.0) + cost.seconds
    fits = [(c.name, c.seconds) for c in costs if c.stage == "fit"]
    rates = [(c.name, c.rate) for c in costs if c.stage == "translate" and c.rate]
    memory = [(f"{c.stage} {c.name}", c.memory) for c in costs if c.memory and c.stage in ("fit", "translate")]
    bars = (
        ("Seconds by stage", "seconds", list(seconds.items())),
        ("Seconds by fit", "seconds", fits),
        ("Images per second by translation", "images per second", rates),
        ("Peak memory of fits and translations", "MB", memory),
    )
    drawings = [_bars(name, axis, values) for name, axis, values in bars if values]
    if not drawings:
        return []
    alt = "Bar chart of cost. The table below has the same numbers."
    return [Chart("cost", "Cost", alt, tuple(drawings), "Show")]


def _bars(name: str, axis: str, values: Iterable[tuple[str, float]]) -> Drawing:
    bars = sorted(values, key=lambda pair: -pair[1])[:30]
    data = {
        "type": "bar",
        "orientation": "h",
        "y": [plain(label) for label, _ in bars],
        "x": [value for _, value in bars],
        "text": [f"{value:.3g}" for _, value in bars],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
        "showlegend": False,
    }
    layout = {
        "height": 110 + 26 * len(bars),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        "xaxis": {"title": {"text": axis}, "rangemode": "tozero", "automargin": True},
    }
    return Drawing(name, [data], layout)


def as_record(chart: Chart) -> Mapping[str, Any]:
    """The chart as the page's script reads it."""
    return {
        "alt": chart.alt,
        "drawings": [{"name": d.name, "data": d.data, "layout": d.layout} for d in chart.drawings],
    }
