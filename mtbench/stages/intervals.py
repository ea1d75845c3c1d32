"""Confidence intervals whose unit is the patient. Knows no metric.

Two kinds of numbers, two roads:

- means of per-case values (Dice): :func:`cases_interval`, a studentized bootstrap of patients;
- distances and other functions of whole sets (FID, KID, IS, SWD): :func:`jackknife`, patients left out one by
  one, or :func:`subsample`, patients drawn without replacement. Never a bootstrap with replacement: the copies
  it makes move such numbers by more than the interval's width.

An interval is about the expected value at the same number of images and patients. What a metric's value owes to
that number (FID's bias at small N) is in the value and stays there: it is stated by N, not hidden in the width.
``benchmarks/coverage.py`` simulates how often the intervals hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtbench.compute.seeds import generator
from mtbench.data import Cases, MetricInputs, Score
from mtbench.errors import MtbenchError

MIN_PATIENTS = 10
"""With fewer on a side no interval is given."""

Positions = NDArray[np.int64]
Measure = Callable[[Positions | None, Positions | None], ArrayLike]
"""The metric's numbers for some slices only: positions of candidates and of references, ``None`` for all.

A metric object may offer a faster one than computing anew: a method ``resample(inputs, context) -> Measure``
which prepares once what all calls share (Gram matrices, projections) and draws its random numbers once, so that
leaving a patient out changes nothing but that patient.
"""


@dataclass(frozen=True)
class Interval:
    """An interval, or the reason why there is none.

    Attributes:
        low, high: its ends; ``None`` where there is none.
        stderr: the standard error behind it.
        reason: why there is none.
    """

    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    reason: str = ""


def measure_of(inputs: MetricInputs, compute: Callable[[MetricInputs], Score | Sequence[Score]]) -> Measure:
    """A measure that computes anew from the selected slices."""

    def measure(candidates: Positions | None, references: Positions | None) -> NDArray[np.float64]:
        scores = compute(inputs.select(candidates, references))
        return np.array([s.value for s in ([scores] if isinstance(scores, Score) else scores)])

    return measure


def cases_interval(cases: Cases, *, seed: int = 0, level: float = 0.95, draws: int = 2000) -> Interval:
    """For the mean of per-case values: patients are drawn with replacement, each with all of its cases.

    Studentized (bootstrap-t, Efron & Tibshirani 1993, ch. 12.5): each draw's mean is measured in its own
    standard error, a delete-one-patient jackknife's. The ends are kept within the range of the values.

    Args:
        cases: values by slice or by patient; NaN cases are left out.
        seed: of the draws.
        level: nominal coverage.
        draws: how many.
    """
    there = ~np.isnan(cases.values)
    values = cases.values[there]
    patients, owner = np.unique(np.array(cases.patients, dtype=str)[there], return_inverse=True)
    if reason := _too_few({"": len(patients)}):
        return Interval(reason=reason)
    sums, counts = np.bincount(owner, values), np.bincount(owner, np.ones(len(values)))
    mean, stderr = _ratio(sums[None], counts[None])
    if stderr[0] <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Interval(float(mean[0]), float(mean[0]), 0.0)
    picks = generator("cases_interval", seed).integers(0, len(patients), (draws, len(patients)))
    means, stderrs = _ratio(sums[picks], counts[picks])
    # A draw of nearly equal patients has hardly a spread to measure itself in: a third of the sample's serves.
    distances = (means - mean[0]) / np.maximum(stderrs, stderr[0] / 3)
    left, right = np.quantile(distances, [(1 - level) / 2, (1 + level) / 2])
    low = max(float(mean[0] - right * stderr[0]), float(values.min()))
    high = min(float(mean[0] - left * stderr[0]), float(values.max()))
    return Interval(low, high, float(stderr[0]))


def _ratio(sums: NDArray[Any], counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of all cases, and its jackknife standard error, for rows of patients' sums and counts."""
    n = sums.shape[1]
    total, number = sums.sum(axis=1, keepdims=True), counts.sum(axis=1, keepdims=True)
    without = (total - sums) / (number - counts)
    return (total / number)[:, 0], np.sqrt((n - 1) * without.var(axis=1))


def jackknife(
    measure: Measure,
    candidates: Sequence[str],
    references: Sequence[str] | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    pairs: int = 40,
) -> list[Interval]:
    """For functions of one or two sets of images: each patient is left out once.

    The jackknife's variance counts what patients contribute *together* (nearly all there is to a distance of
    similar sets) twice; leaving out pairs of patients estimates that part (Efron & Stein 1981), half of which is
    taken off. Ends are Student's t with n - 1 degrees of freedom, n patients on the smaller side.

    Args:
        measure: see :data:`Measure`; called once for each patient and for up to ``pairs`` pairs of each kind
            (two candidates' patients, two references', one of each).
        candidates, references: the patient of each slice. A patient in both is left out of both at once.
        seed: of the choice of pairs.
        level: nominal coverage.
        pairs: 0 leaves the correction out, which makes intervals wider than they need be.

    Returns:
        One interval for each number of the measure.
    """
    sides = _Sides(candidates, references)
    return _guard(measure, sides, lambda: _jackknife(measure, sides, seed, level, pairs))


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
        freedom = min(len(group) for group in sides.groups) - 1.0
        return _intervals(sides.without(measure), variance, freedom, level)

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
    """Patients of two sets of slices, in groups that are resampled one apart from the other."""

    def __init__(self, candidates: Sequence[str], references: Sequence[str] | None) -> None:
        self.owners = [np.array(side, dtype=str) for side in (candidates, references) if side is not None]
        names = [sorted(set(owner.tolist())) for owner in self.owners]
        self.counts = dict(zip(("candidate", "reference"), map(len, names), strict=False))
        overlap = len(names) == 2 and bool(set(names[0]) & set(names[1]))
        # Somebody on both sides makes the sides dependent: then all patients are one group.
        self.groups = [sorted(set(names[0]) | set(names[1]))] if overlap else names

    def without(self, measure: Measure, *patients: str) -> NDArray[np.float64]:
        """The measure with these patients left out; a side that loses nobody is passed as ``None``."""
        picks: list[Positions | None] = []
        for owner in self.owners:
            stays = ~np.isin(owner, patients)
            picks.append(None if stays.all() else np.flatnonzero(stays))
        return np.atleast_1d(np.asarray(measure(picks[0], picks[1] if len(picks) == 2 else None), np.float64))


def _jackknife(measure: Measure, sides: _Sides, seed: int, level: float, pairs: int) -> list[Interval]:
    whole = sides.without(measure)
    one = {p: sides.without(measure, p) for group in sides.groups for p in group}
    first_order = np.zeros_like(whole)
    for group in sides.groups:
        values = np.array([one[p] for p in group])
        first_order += (len(group) - 1) * values.var(axis=0)
    freedom = min(len(group) for group in sides.groups) - 1.0
    if not pairs:
        return _intervals(whole, first_order, freedom, level)
    together = _second_order(measure, sides, whole, one, seed, pairs)
    # It cannot be more than half of the whole. Taking all of it off would leave the variance without bias, but
    # skewed numbers (KID) need wider intervals than that; with half of it those of all metrics hold.
    return _intervals(whole, first_order - np.minimum(together, first_order / 2) / 2, freedom, level)


def _second_order(
    measure: Measure,
    sides: _Sides,
    whole: NDArray[np.float64],
    one: dict[str, NDArray[np.float64]],
    seed: int,
    pairs: int,
) -> NDArray[np.float64]:
    """The variance that pairs of patients contribute together, from leaving out pairs."""
    rng = generator("jackknife", seed)

    def some(all_pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        if len(all_pairs) <= pairs:
            return all_pairs
        return [all_pairs[i] for i in rng.choice(len(all_pairs), pairs, replace=False)]

    total = np.zeros_like(whole)
    for group in sides.groups:
        n = len(group)
        terms = [
            n * whole - (n - 1) * (one[a] + one[b]) + (n - 2) * sides.without(measure, a, b)
            for a, b in some(list(combinations(group, 2)))
        ]
        total += (n - 1) / (2 * n) * np.var(terms, axis=0, ddof=1)
    if len(sides.groups) == 2:
        n, m = map(len, sides.groups)
        terms = [
            # n m (n-1)(m-1) weights: what is left of the pseudo-values of the pair after those of each one.
            (n - 1) * (m - 1) * (whole - one[a] - one[b] + sides.without(measure, a, b))
            for a, b in some(list(product(*sides.groups)))
        ]
        total += np.var(terms, axis=0, ddof=1) / (n * m)
    return total


def _intervals(
    values: NDArray[np.float64], variance: NDArray[np.float64], freedom: float, level: float
) -> list[Interval]:
    from scipy.special import stdtrit

    quantile = float(stdtrit(freedom, (1 + level) / 2))
    intervals = []
    for value, square in zip(values, variance, strict=True):
        if not np.isfinite(value) or not np.isfinite(square):
            intervals.append(Interval(reason="the value is not finite when patients are left out"))
            continue
        stderr = float(np.sqrt(square))
        half = quantile * stderr
        intervals.append(Interval(float(value) - half, float(value) + half, stderr))
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
    short = [f"{n} {side} patients".replace("  ", " ") for side, n in counts.items() if n < MIN_PATIENTS]
    return f"only {' and '.join(short)}; an interval needs {MIN_PATIENTS}" if short else ""
