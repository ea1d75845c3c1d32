"""Computes one metric on its inputs: the N = min draw, the values, the intervals; for suites and for two folders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mtbench.compute.context import Context
from mtbench.compute.seeds import generator
from mtbench.data import Cases, MetricInputs, Score
from mtbench.errors import PluginError
from mtbench.registry.contracts import Metric, Resampling
from mtbench.registry.specs import MetricSpec
from mtbench.stages.intervals import (
    Interval,
    Measure,
    averaged_over_draws,
    cases_interval,
    jackknife,
    measure_of,
    subsample,
)
from mtbench.typed import check_fields

_ROUNDING = 1e-5
"""The tolerance for a case beyond its metric's bounds."""

LARGEST = 1500
"""Images per side beyond which resampling patients would take more time and memory than everything else."""


@dataclass(frozen=True)
class Scoring:
    """The result of one metric on its inputs.

    Attributes:
        scores: the scores, with intervals if available.
        without: for each score, why it has no interval; empty if it has one or none was requested.
        bounds: for each score, limits that hold for any distribution; see :class:`Interval`.
        n: images per side.
        draws: number of draws; the values are means over the draws.
    """

    scores: list[Score]
    without: list[str]
    bounds: list[tuple[float, float] | None]
    n: int
    draws: int

    def record(self) -> dict[str, Any]:
        """The result as JSON values: ``n``, ``draws``, the columns of each score, and the values of the cases."""
        return {
            "n": self.n or None,
            "draws": self.draws,
            "scores": [
                {
                    "label": score.label,
                    "value": score.value,
                    "stderr": score.stderr,
                    "ci_low": score.ci[0] if score.ci else None,
                    "ci_high": score.ci[1] if score.ci else None,
                    "mark": score.mark,
                    "note": score.note,
                    "without_interval": reason,
                    "bound_low": bound[0] if bound else None,
                    "bound_high": bound[1] if bound else None,
                }
                for score, reason, bound in zip(self.scores, self.without, self.bounds, strict=True)
            ],
            "cases": [
                {
                    "label": score.label,
                    "by": score.cases.by,
                    "case": list(score.cases.ids),
                    "patient": list(score.cases.patients),
                    "value": [None if math.isnan(v) else float(v) for v in score.cases.values],
                }
                for score in self.scores
                if score.cases is not None
            ],
        }


def score(
    metric: Metric,
    spec: MetricSpec,
    inputs: MetricInputs,
    context: Context,
    *,
    seed: int = 0,
    draws: int = 5,
    balance: bool = True,
    like: int | None = None,
    blame: str = "",
    intervals: bool = True,
) -> Scoring:
    """The scores of a metric, with intervals if available.

    Args:
        metric: the plugin's object.
        spec: its spec.
        inputs: all inputs.
        context: of the unit.
        seed: of the draws and of resampling.
        draws: how often N = min images are drawn if the sides differ; the value is the mean.
        balance: whether to draw at all, for metrics whose spec requires it.
        like: draw at most this many (the floor is computed at the N of the translated rows).
        blame: the plugin, for messages.
        intervals: whether to compute intervals.

    Raises:
        PluginError: the metric returned no score, or one that is not a finite number.
    """
    blame = blame or f"metric '{spec.name}'"
    samples = list(_draws(inputs, seed, draws, like)) if spec.draws(context.params) and balance else [inputs]
    drawn = [_scores(metric, one, context, blame) for one in samples]
    scores = _mean(drawn, lambda: _scores(metric, inputs, context, blame))
    around = [Interval()] * len(scores)
    if intervals:
        # With several draws the interval is that of their mean, so it uses all slices.
        several = len(samples) > 1 and like is None
        whole = inputs if several else samples[0]
        around = _intervals(metric, spec, scores, whole, context, seed, len(samples) if several else 1, blame)
    images = samples[0].candidate
    return Scoring(
        scores=[_place(s, interval, spec.bounds) for s, interval in zip(scores, around, strict=True)],
        without=[interval.reason for interval in around],
        bounds=[interval.bound for interval in around],
        n=len(images) if images is not None else 0,
        draws=len(samples),
    )


def _draws(inputs: MetricInputs, seed: int, draws: int, like: int | None) -> Iterator[MetricInputs]:
    if inputs.candidate is None or inputs.reference is None:
        yield inputs
        return
    have = {"candidate": len(inputs.candidate), "reference": len(inputs.reference)}
    count = min(*have.values(), *([like] if like else []))
    if set(have.values()) == {count}:
        yield inputs
        return
    for draw in range(draws):
        positions = {}
        for side, total in have.items():
            # By side and size only, so that all translators of a task are evaluated on the same slices.
            rng = generator("draw", seed, side, total, draw)
            positions[side] = None if total == count else np.sort(rng.choice(total, count, replace=False))
        yield inputs.select(positions["candidate"], positions["reference"])


def _scores(metric: Metric, inputs: MetricInputs, context: Context, blame: str) -> list[Score]:
    """The checked output of a metric, with all number types converted to float."""
    result = metric.compute(inputs, context)
    scores = [result] if isinstance(result, Score) else list(result) if isinstance(result, Iterable) else []
    if not scores or not all(isinstance(s, Score) for s in scores):
        raise PluginError(f"compute() returned {result!r:.80}", where=blame, expected="mtbench.Score objects")
    for position, score in enumerate(scores):
        about = f" for '{score.label}'" if score.label else ""
        try:
            value = float(score.value)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise PluginError(
                f"the value{about} is {score.value!r}",
                where=blame,
                expected="a finite number",
                remedy="A metric that cannot be computed must raise an error that says why",
            )
        score = replace(score, value=value, cases=_check_cases(score.cases, about, blame))
        check_fields(score, f"{blame}, score{about}")
        stderr = None if score.stderr is None else float(score.stderr)
        ci = None if score.ci is None else (float(score.ci[0]), float(score.ci[1]))
        scores[position] = replace(score, stderr=stderr, ci=ci)
    return scores


def _check_cases(value: Any, about: str, blame: str) -> Any:
    if not isinstance(value, Cases):
        return value  # None, or a value that the check of the score's fields rejects
    cases = value
    counts = len(cases.ids), len(cases.patients), len(cases.values)
    if len(set(counts)) > 1:
        raise PluginError(
            f"the cases{about} have {counts[0]} ids, {counts[1]} patients and {counts[2]} values",
            where=blame,
            expected="equal numbers",
        )
    try:
        cases = replace(cases, values=np.asarray(cases.values, np.float64))
    except (TypeError, ValueError):
        raise PluginError(f"the cases{about} have values that are not numbers", where=blame) from None
    check_fields(cases, f"{blame}, cases{about}")
    return cases


def _mean(draws: Sequence[list[Score]], whole: Callable[[], list[Score]]) -> list[Score]:
    """The mean over draws, with the standard error of that mean if the metric states that of a draw.

    Draws share slices, so their errors do not average out. The mean of D draws has the variance V + (W - V) / D, where
    W is the variance of one draw and V that of the metric on all slices, if draws are unbiased for the latter (KID).

    Args:
        whole: computes the metric on all slices; called only if a draw has a standard error.
    """
    if len(draws) == 1:
        return draws[0]
    groups = list(zip(*draws, strict=True))
    error = [all(s.stderr is not None for s in alike) for alike in groups]
    complete = whole() if any(error) else draws[0]
    return [
        replace(
            alike[0],
            value=float(np.mean([s.value for s in alike])),
            cases=None,
            stderr=_stderr([s.stderr or 0.0 for s in alike], one.stderr) if known else None,
        )
        for alike, known, one in zip(groups, error, complete, strict=True)
    ]


def _stderr(draws: Sequence[float], whole: float | None) -> float | None:
    if whole is None:
        return None
    return math.sqrt(whole**2 + max(float(np.square(draws).mean()) - whole**2, 0.0) / len(draws))


def _intervals(
    metric: Metric,
    spec: MetricSpec,
    scores: list[Score],
    inputs: MetricInputs,
    context: Context,
    seed: int,
    draws: int,
    blame: str,
) -> list[Interval]:
    if spec.interval == "cases":
        return [_of_cases(s.cases, spec, blame) if s.cases is not None else Interval() for s in scores]
    if spec.interval == "none" or inputs.candidate is None:
        return [Interval()] * len(scores)
    if not all(inputs.candidate.patients):
        return [Interval(reason="the patients are unknown")] * len(scores)
    if min(len(s) for s in (inputs.candidate, inputs.reference) if s is not None) > LARGEST:
        return [Interval(reason=f"not computed for more than {LARGEST} images per side")] * len(scores)
    measure: Measure
    if isinstance(metric, Resampling):
        measure = metric.resample(inputs, context)
    else:
        measure = measure_of(inputs, lambda part: _scores(metric, part, context, blame))
    references = inputs.reference.patients if inputs.reference is not None else None
    if draws > 1 and references is not None:
        measure = averaged_over_draws(measure, len(inputs.candidate), len(references), seed=seed, draws=draws)
    if spec.interval == "jackknife":
        return jackknife(measure, inputs.candidate.patients, references)
    return subsample(measure, inputs.candidate.patients, references, seed=seed)


def _of_cases(cases: Cases, spec: MetricSpec, blame: str) -> Interval:
    if spec.bounds is not None:
        low, high = spec.bounds
        smallest, largest = np.nanmin(cases.values, initial=high), np.nanmax(cases.values, initial=low)
        if smallest < low - _ROUNDING or largest > high + _ROUNDING:
            raise PluginError(
                f"a case has the value {smallest if smallest < low else largest:g}",
                where=blame,
                expected=f"values from {low:g} to {high:g}, the bounds of its spec",
            )
    return cases_interval(cases, bounds=spec.bounds)


def _place(score: Score, interval: Interval, bounds: tuple[float, float] | None) -> Score:
    """The interval around the printed value, within ``bounds``; resampling may have used other draws or projections."""
    if interval.value is None or interval.low is None or interval.high is None:
        return score
    shift = score.value - interval.value
    smallest, largest = bounds or (-math.inf, math.inf)
    ends = max(interval.low + shift, smallest), min(interval.high + shift, largest)
    return replace(score, ci=ends, stderr=interval.stderr)
