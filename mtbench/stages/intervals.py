"""Confidence intervals with the patient as the unit of resampling, independent of any metric.

There are two kinds of values:

- means of per-case values (Dice): :func:`cases_interval`, a studentised bootstrap of patients;
- distances and other functions of whole sets (FID, KID, IS, SWD): :func:`jackknife`, patients omitted one by one, or
  :func:`subsample`, patients drawn without replacement. Never a bootstrap with replacement: its duplicates shift such
  values by more than the interval's width.

An interval refers to the expected value at the same number of images and patients. The dependence of a metric on that
number (FID's bias at small N) is part of the value: N states it, the width does not include it. The interval assumes
that rare events (a complete failure of a translation) are represented among the patients; for bounded values,
``Interval.bound`` does not assume it.
``benchmarks/coverage.py`` simulates the coverage of the intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtbench.compute.means import assumption_free_bound, patient_mean, totals
from mtbench.compute.seeds import generator
from mtbench.data import Cases, MetricInputs, Score
from mtbench.errors import MtbenchError

MIN_PATIENTS = 10
"""With fewer patients on a side there is no interval."""

Positions = NDArray[np.int64]
Measure = Callable[[Positions | None, Positions | None], ArrayLike]
"""The metric's values on a subset of the slices: positions of candidates and of references, ``None`` for all.

A metric object may offer a faster one than a full computation: a method ``resample(inputs, context) -> Measure`` that
computes once what all calls share (Gram matrices, projections) and draws its random numbers once, so that omitting a
patient changes nothing else.
"""


@dataclass(frozen=True)
class Interval:
    """An interval, or the reason why there is none.

    Attributes:
        value: the value that it refers to.
        low, high: its ends; ``None`` if there is no interval.
        stderr: the standard error behind it.
        bound: limits that hold for any distribution, for a mean of values within known bounds.
        reason: why there is no interval.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    bound: tuple[float, float] | None = None
    reason: str = ""


def measure_of(inputs: MetricInputs, compute: Callable[[MetricInputs], Score | Sequence[Score]]) -> Measure:
    """A measure that runs the full computation on the selected slices."""

    def measure(candidates: Positions | None, references: Positions | None) -> NDArray[np.float64]:
        scores = compute(inputs.select(candidates, references))
        return np.array([s.value for s in ([scores] if isinstance(scores, Score) else scores)])

    return measure


def cases_interval(cases: Cases, *, bounds: tuple[float, float] | None = None, level: float = 0.95) -> Interval:
    """The interval for a mean of per-case values; see :class:`mtbench.compute.means.PatientMean`.

    Args:
        cases: values by slice or by patient; cases with NaN are skipped.
        bounds: the smallest and largest possible value; infinite if unbounded. The interval stays within them. If both
            are finite, the limits without assumptions are computed too, for any number of patients.
        level: nominal coverage.
    """
    there = ~np.isnan(cases.values)
    if not there.any():
        return Interval(reason="no case has a value")
    sums, counts = totals(cases.values[there], np.array(cases.patients, dtype=str)[there].tolist())
    bound = None
    if bounds is not None and np.isfinite(bounds).all():
        bound = assumption_free_bound(sums, counts, bounds, level)
    if reason := _too_few({"": len(sums)}):
        return Interval(reason=reason, bound=bound)
    mean = patient_mean(sums, counts)
    low, high = mean.interval(level)
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(mean.value, low, high, mean.stderr, bound)


def jackknife(
    measure: Measure,
    candidates: Sequence[str],
    references: Sequence[str] | None = None,
    *,
    level: float = 0.95,
) -> list[Interval]:
    """The interval for a function of one or two sets of images: each patient is omitted once.

    The jackknife's variance is on average too large, never too small (Efron & Stein 1981), because it counts joint
    contributions of patients twice. The ends use Student's t with n - 1 degrees of freedom, n patients on the smaller
    side, on the scale of the cube root, on which squared distances are nearly normal (Wilson & Hilferty 1931): a sample
    whose distance is small by chance also has a small standard error, so symmetric ends would be too low.

    Args:
        measure: see :data:`Measure`; called once for each patient.
        candidates, references: the patient of each slice. A patient in both is omitted from both at once.
        level: nominal coverage.

    Returns:
        One interval for each number of the measure.
    """
    sides = _Sides(candidates, references)

    def intervals() -> list[Interval]:
        whole = sides.without(measure)
        variance = np.zeros_like(whole)
        for group in sides.groups:
            values = np.array([sides.without(measure, patient) for patient in group])
            variance += (len(group) - 1) * values.var(axis=0)
        return _intervals(whole, variance, sides, level)

    return _guard(measure, sides, intervals)


def subsample(
    measure: Measure,
    candidates: Sequence[str],
    references: Sequence[str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    draws: int = 200,
    fraction: float = 0.5,
) -> list[Interval]:
    """For functions of sets that are not smooth (medians, maxima): a share of the patients, without replacement.

    The spread over draws of m of n patients, times sqrt(m / (n - m)), is the standard error (Politis, Romano
    & Wolf 1999). Wider than :func:`jackknife` for smooth functions, most of all at few patients.

    Args:
        measure, candidates, references, seed, level: as in :func:`jackknife`.
        draws: how many.
        fraction: m / n.

    Returns:
        One interval for each number of the measure.
    """
    sides = _Sides(candidates, references)

    def intervals() -> list[Interval]:
        rng = generator("subsample", seed)
        counts = [max(2, round(fraction * len(group))) for group in sides.groups]
        values = []
        for _ in range(draws):
            out: list[str] = []
            for group, count in zip(sides.groups, counts, strict=True):
                out.extend(rng.permutation(np.array(group))[count:].tolist())
            values.append(sides.without(measure, *out))
        scale = min(m / (len(g) - m) for m, g in zip(counts, sides.groups, strict=True))
        variance = scale * np.var(values, axis=0, ddof=1)
        return _intervals(sides.without(measure), variance, sides, level)

    return _guard(measure, sides, intervals)


def averaged_over_draws(
    measure: Measure, n_candidates: int, n_references: int, *, seed: int = 0, draws: int = 5
) -> Measure:
    """The mean of a measure over several draws of N = min(candidates, references) slices from each side.

    Each slice has a random rank in each draw and the N first are taken. So a resampling that leaves out a
    patient changes the draw by that patient's slices and their substitutes only.
    """
    rng = generator("averaged_over_draws", seed)
    ranks = [(rng.permutation(n_candidates), rng.permutation(n_references)) for _ in range(draws)]

    def first(subset: Positions | None, rank: NDArray[np.int64], count: int) -> Positions:
        positions = np.arange(len(rank)) if subset is None else np.asarray(subset)
        return np.sort(positions[np.argsort(rank[positions], kind="stable")[:count]])

    def mean(candidates: Positions | None, references: Positions | None) -> NDArray[np.float64]:
        count = min(
            n_candidates if candidates is None else len(candidates),
            n_references if references is None else len(references),
        )
        values = [
            np.atleast_1d(measure(first(candidates, ours, count), first(references, theirs, count)))
            for ours, theirs in ranks
        ]
        return np.asarray(np.mean(values, axis=0))

    return mean


class _Sides:
    """Patients of two sets of slices, in groups that are resampled independently."""

    def __init__(self, candidates: Sequence[str], references: Sequence[str] | None) -> None:
        self.owners = [np.array(side, dtype=str) for side in (candidates, references) if side is not None]
        names = [sorted(set(owner.tolist())) for owner in self.owners]
        self.counts = dict(zip(("translated", "target"), map(len, names), strict=False))
        overlap = len(names) == 2 and bool(set(names[0]) & set(names[1]))
        # Somebody on both sides makes the sides dependent: then all patients are one group.
        self.groups = [sorted(set(names[0]) | set(names[1]))] if overlap else names

    def without(self, measure: Measure, *patients: str) -> NDArray[np.float64]:
        """The measure without these patients; a side that loses no patient is passed as ``None``."""
        picks: list[Positions | None] = []
        for owner in self.owners:
            stays = ~np.isin(owner, patients)
            picks.append(None if stays.all() else np.flatnonzero(stays))
        return np.atleast_1d(np.asarray(measure(picks[0], picks[1] if len(picks) == 2 else None), np.float64))


def _intervals(
    values: NDArray[np.float64], variance: NDArray[np.float64], sides: _Sides, level: float
) -> list[Interval]:
    from scipy.special import stdtrit

    quantile = float(stdtrit(min(len(group) for group in sides.groups) - 1.0, (1 + level) / 2))
    intervals = []
    for value, square in zip(values.tolist(), variance.tolist(), strict=True):
        if not np.isfinite(value) or not np.isfinite(square):
            intervals.append(Interval(reason="the value is not finite when patients are left out"))
            continue
        stderr = float(np.sqrt(square))
        # An unbiased estimate of a distance may be near 0 or below: its root's scale then starts at the error.
        scale = max(abs(value), stderr) or 1.0
        reach = quantile * stderr / (3 * scale)
        low = value - scale + scale * max(1 - reach, 0.0) ** 3
        intervals.append(Interval(value, low, value - scale + scale * (1 + reach) ** 3, stderr))
    return intervals


def _guard(measure: Measure, sides: _Sides, intervals: Callable[[], list[Interval]]) -> list[Interval]:
    reason = _too_few(sides.counts)
    if not reason:
        try:
            return intervals()
        except MtbenchError as error:
            reason = f"the metric cannot be computed without some patients: {error}"
    return [Interval(reason=reason)] * len(sides.without(measure))


def _too_few(counts: dict[str, int]) -> str:
    if min(counts.values()) >= MIN_PATIENTS:
        return ""
    sides = " and ".join(f"{n} {side} patient{'s' * (n != 1)}".replace("  ", " ") for side, n in counts.items())
    return f"{sides}, at least {MIN_PATIENTS}{' of each' * (len(counts) > 1)} are needed"
