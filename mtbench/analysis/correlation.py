"""Correlations between perceptual and segmentation metrics over translators: the paper's Figure 2, with uncertainty."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from mtbench.analysis.association import METHODS, holm, leave_one_out, p_values, without_rounding
from mtbench.analysis.columns import anonymise, conditional_input
from mtbench.analysis.endpoints import Endpoints
from mtbench.analysis.gather import Averages, current, gather
from mtbench.analysis.layout import TableLayout
from mtbench.analysis.numbers import format_coefficient
from mtbench.analysis.outside import Outside
from mtbench.analysis.ranking import RULES, Rule
from mtbench.errors import RequestError

ENOUGH = 8
"""With fewer translators a correlation is descriptive only."""

FEWEST = 3
"""With fewer translators no correlation is computed: two points always lie on a line."""

FEWEST_DRAWN = 5
"""With fewer translators no heat map is drawn: its coefficients are near 1 for any metrics."""


@dataclass(frozen=True)
class Estimate:
    """One coefficient.

    Attributes:
        value: the coefficient, -1 to 1; ``None`` if it is undefined (too few translators, a constant metric).
        agreement: the same, oriented so that positive means that the metrics agree on which translator is better.
        p: two-sided p of a permutation test over translators.
        p_holm: p adjusted for all correlations of this kind in the result.
        left_out: ``agreement`` without each translator in turn, by its printed name.
    """

    value: float | None = None
    agreement: float | None = None
    p: float | None = None
    p_holm: float | None = None
    left_out: Mapping[str, float] | None = None

    def coefficient(self, absolute: bool) -> float | None:
        """The agreement, or the absolute value."""
        return self.agreement if not absolute else None if self.value is None else abs(self.value)

    def jackknife_range(self, absolute: bool) -> str:
        """The printed range of the coefficient without each translator in turn."""
        values = [abs(v) if absolute else v for v in (self.left_out or {}).values()]
        return " to ".join(format_coefficient(v, absolute) for v in (min(values), max(values))) if values else "–"


@dataclass(frozen=True)
class Correlation:
    """One metric against one segmentation metric or endpoint on one task, one point per translator.

    Attributes:
        task, dataset: the task's printed title and its name.
        metric, against: printed names of the two columns ("SWD[karras]", "Dice[slice] breast").
        translators: printed names of the points.
        estimates: by method: "pearson", "spearman", "kendall".
        caveat: why the metric's scores are not comparable with published ones; usually empty.
        undefined: why the coefficient is undefined despite enough translators; usually empty.
    """

    task: str
    dataset: str
    metric: str
    against: str
    translators: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    caveat: str = ""
    undefined: str = ""

    @property
    def n(self) -> int:
        """The number of translators."""
        return len(self.translators)

    @property
    def descriptive(self) -> bool:
        """Whether there are too few translators for more than a description."""
        return self.n < ENOUGH


@dataclass(frozen=True)
class Correlations:
    """All correlations of a result.

    Attributes:
        items: by task, then metric, then segmentation metric.
        rule: "default", or "paper": absolute values over all rows.
        remarks: sentences for the reader.
    """

    items: tuple[Correlation, ...]
    rule: Rule
    remarks: tuple[str, ...]


def panel(items: Sequence[Correlation], absolute: bool) -> tuple[list[str], list[str], list[list[float | None]]]:
    """For one task: metrics, segmentation metrics, and Pearson's coefficient of each pair; ``None`` if undefined."""
    metrics = list(dict.fromkeys(item.metric for item in items))
    against = list(dict.fromkeys(item.against for item in items))
    values = {(item.metric, item.against): item.estimates["pearson"].coefficient(absolute) for item in items}
    return metrics, against, [[values.get((m, a)) for a in against] for m in metrics]


def drawable(correlations: Correlations) -> dict[str, list[Correlation]]:
    """By task, the correlations that a heat map shows: those over at least ``FEWEST_DRAWN`` translators."""
    tasks: dict[str, list[Correlation]] = {}
    for item in correlations.items:
        if item.n >= FEWEST_DRAWN:
            tasks.setdefault(item.task, []).append(item)
    return {
        task: items for task, items in tasks.items() if any(i.estimates["pearson"].value is not None for i in items)
    }


def undrawn(correlations: Correlations) -> dict[str, str]:
    """By task, why its heat map, or a part of it, is not drawn."""
    reasons = {}
    for task in dict.fromkeys(item.task for item in correlations.items):
        counts = [item.n for item in correlations.items if item.task == task]
        if min(counts) < FEWEST_DRAWN:
            what = "no heat map" if max(counts) < FEWEST_DRAWN else "heat map without some pairs"
            low, high = min(counts), min(max(counts), FEWEST_DRAWN - 1)
            few = f"{low}" if low == high else f"{low} to {high}"
            noun = "translator" if few == "1" else "translators"
            reasons[task] = f"{what}, because {few} {noun} cannot show agreement (at least {FEWEST_DRAWN} are needed)."
    return reasons


def correlate(
    scores: pa.Table,
    *,
    rule: Rule = "default",
    conditional: bool = False,
    rows: Sequence[str] = (),
    without: Sequence[str] = (),
    datasets: Sequence[str] = (),
    against: Endpoints | None = None,
) -> Correlations:
    """Correlate each metric with each segmentation metric, separately for each task.

    One point per translator: seeds and folds are averaged first, since the seeds of a translator are not
    independent. Reference rows, and scores with failed runs, are excluded.

    Args:
        scores: rows of ``mtbench.results.schema.SCORES``.
        rule: "paper" takes all translators, conditional ones too, as Figure 2 of Konz et al. (MIDL 2024) does.
        conditional: whether to include conditional translators: their Dice is circular, since their input is the
            reference mask.
        rows: translators to include; all if empty.
        without: translators to exclude.
        datasets: tasks to include; all if empty.
        against: endpoints that replace the segmentation metrics, which are correlated with them like the others.

    Raises:
        RequestError: a name matches nothing, in ``against`` too.
        DataError: the table is not of the scores schema, or mixes schema versions.
    """
    if rule not in RULES:
        raise RequestError(f"unknown rule '{rule}'", expected="one of " + ", ".join(RULES))
    scores, stale = current(scores)
    averages = gather(scores)
    layout = TableLayout(averages, {}, (), rows, datasets)
    points, circular = points_of(averages, layout, without, conditional=conditional or rule == "paper")
    outside = Outside(averages, layout, against) if against else None
    items: list[Correlation] = []
    for b in dict.fromkeys(b for b, _ in layout.columns):
        columns = [c for block, c in layout.columns if block == b]
        series = {c: _series(averages, layout, b, c, points) for c in columns}
        outcomes = [c for c in columns if averages.columns[c]["family"] == "segmentation"]
        others = [series[c] for c in columns if against or c not in outcomes]
        ends = _outcomes(outside, b, points) if outside else [series[c] for c in outcomes]
        items += _task(
            layout.titles[b], averages.blocks[b]["dataset"], [layout.labels[r] for r in points], others, ends
        )
    protocols = {averages.columns[c]["protocol"] for _, c in layout.columns}
    remarks = _remarks(items, rule, [layout.labels[r] for r in circular], protocols)
    remarks += outside.remarks(points) if outside else ()
    remarks += (f"{anonymise(stale)}.",) if stale else ()
    return Correlations(tuple(_with_holm(items)), rule, remarks)


@dataclass(frozen=True)
class _Series:
    """One variable of a correlation: a value for each point, NaN if missing; ``sign`` is -1 if lower is better."""

    name: str
    sign: float
    values: np.ndarray[Any, Any]
    caveat: str = ""


def points_of(
    averages: Averages, layout: TableLayout, without: Sequence[str], *, conditional: bool
) -> tuple[list[int], list[int]]:
    """The translators to correlate over, and those that are left out because they are conditional.

    Args:
        averages, layout: the scores and the rows that were asked for.
        without: translators to exclude.
        conditional: whether to include conditional translators.

    Raises:
        RequestError: ``without`` matches nothing.
    """
    excluded = set(TableLayout(averages, {}, (), without, ()).rows) if without else set[int]()
    every = [r for r in layout.rows if averages.rows[r]["role"] == "translator" and r not in excluded]
    points = [r for r in every if conditional or not averages.rows[r]["conditional"]]
    return points, [r for r in every if r not in points]


def _series(averages: Averages, layout: TableLayout, b: int, c: int, points: Sequence[int]) -> _Series:
    numbers = [averages.numbers.get((b, r, c)) for r in points]
    values = [math.nan if n is None or n.incomplete or not math.isfinite(n.value) else n.value for n in numbers]
    column = averages.columns[c]
    name = f"{layout.names[c]} {column['label']}".strip()
    return _Series(name, 1.0 if column["higher_is_better"] else -1.0, np.array(values), column["caveat"])


def _outcomes(outside: Outside, b: int, points: Sequence[int]) -> list[_Series]:
    """The endpoints of a task."""
    return [
        _Series(
            column.name, 1.0 if column.higher_is_better else -1.0, np.array([values.get(r, math.nan) for r in points])
        )
        for column in outside.endpoints.columns
        for values in [outside.by_row(b, column.values)]
    ]


def _task(
    title: str, dataset: str, labels: Sequence[str], metrics: Sequence[_Series], outcomes: Sequence[_Series]
) -> list[Correlation]:
    # Variables that lack the same points are computed together.
    batches: dict[tuple[bytes, bytes], tuple[list[int], list[int]]] = {}
    for j, metric in enumerate(metrics):
        for k, outcome in enumerate(outcomes):
            key = np.isnan(metric.values).tobytes(), np.isnan(outcome.values).tobytes()
            xs, ys = batches.setdefault(key, ([], []))
            if j not in xs:
                xs.append(j)
            if k not in ys:
                ys.append(k)
    items: dict[tuple[int, int], Correlation] = {}
    for xs, ys in batches.values():
        left, right = [metrics[j] for j in xs], [outcomes[k] for k in ys]
        indices = np.flatnonzero(~np.isnan(left[0].values) & ~np.isnan(right[0].values)).tolist()
        names = tuple(labels[i] for i in indices)
        x, y = (without_rounding(np.stack([s.values[indices] for s in side], 1)) for side in (left, right))
        sign = np.outer([s.sign for s in left], [s.sign for s in right])
        estimates = {method: _estimates(method, x, y, sign, names) for method in METHODS}
        for i, j in enumerate(xs):
            for m, k in enumerate(ys):
                items[j, k] = Correlation(
                    title,
                    dataset,
                    left[i].name,
                    right[m].name,
                    names,
                    {method: estimates[method][i][m] for method in METHODS},
                    left[i].caveat,
                    _constant({left[i].name: x[:, i], right[m].name: y[:, m]}),
                )
    return [items[key] for key in sorted(items)]


def _constant(columns: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Which of two columns have the same value for all translators, so that their correlation is undefined."""
    same = [name for name, values in columns.items() if len(values) >= FEWEST and np.ptp(values) == 0]
    return f"{' and '.join(same)}: the same value for all translators" if same else ""


def _estimates(
    method: str, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], sign: np.ndarray[Any, Any], names: Sequence[str]
) -> list[list[Estimate]]:
    p_columns, q_columns = x.shape[1], y.shape[1]
    if len(names) < FEWEST:
        return [[Estimate()] * q_columns for _ in range(p_columns)]
    value = METHODS[method](x, y)
    p = p_values(method, x, y)
    jackknife = leave_one_out(method, x, y) * sign if len(names) > FEWEST else None
    return [
        [
            Estimate()
            if math.isnan(value[i, j])
            else Estimate(
                value=float(value[i, j]),
                agreement=float(value[i, j] * sign[i, j]),
                p=float(p[i, j]),
                left_out={}
                if jackknife is None
                else {name: float(v) for name, v in zip(names, jackknife[:, i, j], strict=True) if not math.isnan(v)},
            )
            for j in range(q_columns)
        ]
        for i in range(p_columns)
    ]


def _with_holm(items: Sequence[Correlation]) -> list[Correlation]:
    """The same correlations with Holm's p, adjusted over all correlations of one method."""
    estimates: list[dict[str, Estimate]] = [dict(item.estimates) for item in items]
    for method in METHODS:
        p = [e[method].p for e in estimates]
        for e, adjusted in zip(estimates, holm([math.nan if v is None else v for v in p]), strict=True):
            if not math.isnan(adjusted):
                e[method] = replace(e[method], p_holm=adjusted)
    return [replace(item, estimates=e) for item, e in zip(items, estimates, strict=True)]


def _remarks(
    items: Sequence[Correlation], rule: Rule, circular: Sequence[str], protocols: Collection[str]
) -> tuple[str, ...]:
    texts = []
    if rule == "paper":
        texts.append("Absolute correlations over all translators: their sign (agreement or contradiction) is lost.")
    else:
        texts.append("A positive coefficient means that both metrics prefer the same translators.")
    texts.append("One point per translator; seeds and folds are averaged.")
    if any(item.descriptive for item in items):
        texts.append(f"Descriptive only: fewer than {ENOUGH} translators.")
    if any(item.n < FEWEST for item in items):
        texts.append(f"No correlation with fewer than {FEWEST} translators.")
    if circular:
        texts.append(f"Excluded: {', '.join(circular)} (conditional: {conditional_input(protocols)}).")
    undefined = dict.fromkeys(f"{item.task}: {item.undefined}" for item in items if item.undefined)
    texts += [f"Undefined on {text}." for text in undefined]
    caveats = dict.fromkeys((item.metric, item.caveat) for item in items if item.caveat)
    texts += [f"{metric}: {caveat}." for metric, caveat in caveats]
    return tuple(texts)
