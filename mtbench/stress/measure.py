"""One metric on one set: the score as in a run, and its values on halves and smaller draws of the patients."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.compute.seeds import generator
from mtbench.data import Cases, MetricInputs
from mtbench.errors import MtbenchError
from mtbench.registry.contracts import Metric, Resampling
from mtbench.registry.specs import MetricSpec
from mtbench.stages.intervals import MIN_PATIENTS, Measure, averaged_over_draws, measure_of
from mtbench.stages.scoring import Scoring
from mtbench.stages.scoring import score as score_inputs
from mtbench.typed import Record

BAND, FOLLOWED = 10, 2
"""How often the patients are halved for the band, and at every level; each division gives two halves."""
DRAWS = 8
"""Draws of each number of patients."""
Part = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The candidates and references of some patients, by position."""


@dataclass(frozen=True)
class Reading(Record):
    """One score of a metric on one set.

    Attributes:
        label: of the score.
        value, low, high: the score with its 95 % confidence interval by patient.
        without: why there is no interval.
        halves: its values on disjoint halves of the patients; two for each division. Empty with too few patients.
        draws: of the undamaged set: values on draws of fewer patients, by their number.
        note: of the metric.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    without: str = ""
    halves: tuple[float, ...] = ()
    draws: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Measurement(Record):
    """A metric on one set: its scores; on the undamaged one, the seconds per image of ``compute``, without features."""

    readings: tuple[Reading, ...]
    seconds: float = 0.0


def measure(
    metric: Metric, spec: MetricSpec, inputs: MetricInputs, context: Context, *, seed: int, base: bool, intervals: bool
) -> Measurement:
    """The metric on a set.

    Args:
        metric, spec, inputs, context: as for :func:`mtbench.stages.scoring.score`.
        seed: of draws.
        base: whether the set is undamaged: then the band has all its halves, and smaller draws are made.
        intervals: whether to compute confidence intervals.

    Raises:
        MtbenchError: whatever the metric raises.
    """
    assert inputs.candidate is not None
    if isinstance(metric, Resampling):
        metric = _PreparedOnce(metric)
    seconds = 0.0
    if base:
        started = time.perf_counter()
        score_inputs(metric, spec, inputs, context, seed=seed, draws=1, intervals=False)
        seconds = (time.perf_counter() - started) / len(inputs.candidate)
    scoring = score_inputs(metric, spec, inputs, context, seed=seed, draws=1, intervals=intervals)
    patients = _Patients.of(inputs)
    values = _values(metric, spec, inputs, scoring, context, seed)
    halves = _on(values, patients.halves(BAND if base else FOLLOWED, seed)) if patients.enough else None
    draws = {n: _on(values, patients.draws(n, seed)) for n in patients.numbers()} if base else {}
    return Measurement(
        tuple(
            Reading(
                label=score.label,
                value=score.value,
                low=score.ci[0] if score.ci else None,
                high=score.ci[1] if score.ci else None,
                without=reason,
                halves=() if halves is None else tuple(halves[:, i].tolist()),
                draws={str(n): tuple(on[:, i].tolist()) for n, on in draws.items() if on is not None},
                note=score.note,
            )
            for i, (score, reason) in enumerate(zip(scoring.scores, scoring.without, strict=True))
        ),
        seconds,
    )


class _PreparedOnce:
    """A metric that prepares its resampling once for the intervals, the halves and the draws of one set."""

    def __init__(self, metric: Resampling) -> None:
        assert isinstance(metric, Metric)
        self.compute = metric.compute
        self._resample = metric.resample
        self._measure: Measure | None = None

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """As the metric's own."""
        if self._measure is None:
            self._measure = self._resample(inputs, context)
        return self._measure


def too_few(candidates: int, references: int | None) -> str:
    """Why so many patients make no band; empty if they do."""
    counts = {"candidate": candidates, **({} if references is None else {"reference": references})}
    if min(counts.values()) >= MIN_PATIENTS:
        return ""
    sides = " and ".join(f"{count} {name}" for name, count in counts.items())
    return f"no band: {sides} patients, at least {MIN_PATIENTS} of each are needed"


@dataclass(frozen=True)
class _Patients:
    """The patients of both sides; without references, of the candidates alone."""

    sides: tuple[tuple[str, ...], tuple[str, ...]]

    @classmethod
    def of(cls, inputs: MetricInputs) -> _Patients:
        assert inputs.candidate is not None
        return cls((inputs.candidate.patients, inputs.reference.patients if inputs.reference is not None else ()))

    @property
    def names(self) -> list[NDArray[np.str_]]:
        return [np.unique(np.array(side, dtype=str)) for side in self.sides]

    @property
    def enough(self) -> bool:
        candidates, references = (len(names) for names in self.names)
        return not too_few(candidates, references or None)

    def halves(self, divisions: int, seed: int) -> list[Part]:
        parts = []
        for division in range(divisions):
            orders = [generator("stress", "halves", seed, division).permutation(names) for names in self.names]
            middles = [len(order) // 2 for order in orders]
            parts.append(self._part([order[:m] for order, m in zip(orders, middles, strict=True)]))
            parts.append(self._part([order[m:] for order, m in zip(orders, middles, strict=True)]))
        return parts

    def numbers(self) -> list[int]:
        """2, 4, 8, ... patients, fewer than the smaller side has."""
        most = min(len(names) for names in self.names if len(names))
        return [2**power for power in range(1, 12) if 2**power < most]

    def draws(self, number: int, seed: int) -> list[Part]:
        """Draws of so many patients of each side."""
        rngs = [generator("stress", "draw", seed, number, draw) for draw in range(DRAWS)]
        return [self._part([rng.permutation(names)[:number] for names in self.names]) for rng in rngs]

    def _part(self, chosen: Sequence[NDArray[np.str_]]) -> Part:
        first, second = (
            np.flatnonzero(np.isin(np.array(side, dtype=str), names))
            for side, names in zip(self.sides, chosen, strict=True)
        )
        return first, second


def _values(
    metric: Metric, spec: MetricSpec, inputs: MetricInputs, scoring: Scoring, context: Context, seed: int
) -> Measure:
    """The metric on some slices: from the values of its cases if it has them, else as its interval is made."""
    cases = [score.cases for score in scoring.scores if score.cases is not None]
    if len(cases) == len(scoring.scores) and spec.interval == "cases":
        assert inputs.candidate is not None
        return _of_cases(cases, inputs.candidate.patients)
    if isinstance(metric, Resampling):
        measure = metric.resample(inputs, context)
    else:
        measure = measure_of(inputs, lambda part: metric.compute(part, context))
    if spec.draws(context.params) and inputs.candidate is not None and inputs.reference is not None:
        measure = averaged_over_draws(measure, len(inputs.candidate), len(inputs.reference), seed=seed, draws=1)
    return measure


def _of_cases(cases: Sequence[Cases], owners: Sequence[str]) -> Measure:
    def values(candidates: NDArray[np.int64] | None, references: NDArray[np.int64] | None) -> NDArray[np.float64]:
        chosen = owners if candidates is None else {owners[int(i)] for i in candidates}
        return np.array([_mean(each.values[np.isin(each.patients, list(chosen))]) for each in cases])

    return values


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _on(values: Measure, parts: Sequence[Part]) -> NDArray[np.float64] | None:
    """Parts x scores; ``None`` if the metric cannot be computed on a part, or is not finite there."""
    try:
        result = np.array([np.atleast_1d(values(first, second if len(second) else None)) for first, second in parts])
    except MtbenchError:
        return None
    return result if np.isfinite(result).all() else None
