"""Means of per-case values over patients: an interval, a p-value, and limits without assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtbench.compute.seeds import generator

DRAWS = 9_999
"""Draws of patients, the same for every mean over the same number of patients."""

_STAKES = np.sqrt(np.arange(1, 25) / 24)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PatientMean:
    """The mean of all cases, with the uncertainty of drawing these patients.

    The mean is a ratio (total of values by number of cases), its standard error linearised, with patients as
    clusters. Its distribution is that of a studentised bootstrap of patients (bootstrap-t; Efron & Tibshirani 1993,
    ch. 12.5), which follows skew where Student's t does not.

    Attributes:
        value, stderr: of the mean.
        patients: their number.
        distances: float64, one per draw: its mean minus ``value``, in its own standard error; sorted.
    """

    value: float
    stderr: float
    patients: int
    distances: Floats

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Equal-tailed, and on neither side narrower than Student's t with n - 1 degrees of freedom, n patients."""
        from scipy.special import stdtrit

        t = float(stdtrit(self.patients - 1, (1 + level) / 2))
        left, right = np.quantile(self.distances, [(1 - level) / 2, (1 + level) / 2])
        return self.value - max(t, float(right)) * self.stderr, self.value - min(-t, float(left)) * self.stderr

    def p(self) -> float:
        """Two-sided, of the hypothesis that the mean is 0."""
        if not self.stderr:
            return 0.0 if self.value else 1.0
        at = self.value / self.stderr
        below = int(np.searchsorted(self.distances, at, "right"))
        above = len(self.distances) - int(np.searchsorted(self.distances, at, "left"))
        return min(1.0, 2 * (min(below, above) + 1) / (len(self.distances) + 1))


def totals(values: ArrayLike, patients: Sequence[str]) -> tuple[Floats, Floats]:
    """The sum of values and the number of cases of each patient, patients in the order of their names."""
    _, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    values = np.asarray(values, dtype=np.float64)
    return np.bincount(owner, values).astype(np.float64), np.bincount(owner).astype(np.float64)


def patient_mean(sums: Floats, counts: Floats) -> PatientMean:
    """The mean of all cases from each patient's sum and number of cases: n, n, with n >= 2."""
    n, value = len(sums), float(sums.sum() / counts.sum())
    residuals = sums - value * counts
    stderr = float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / counts.sum())
    if stderr <= 1e-12 * max(1.0, float(np.abs(sums / counts).max())):
        return PatientMean(value, 0.0, n, np.zeros(1))
    terms = np.stack([counts, residuals, residuals**2, residuals * counts, counts**2], axis=1)
    number, total, squares, products, squared_counts = (_times(n) @ terms).T
    shift = total / number
    squares = squares - 2 * shift * products + shift**2 * squared_counts
    own = np.sqrt(n / (n - 1) * np.maximum(squares, 0)) / number
    # A draw of nearly equal patients has almost no spread as a unit: a third of the sample's is used instead.
    return PatientMean(value, stderr, n, np.sort(shift / np.maximum(own, stderr / 3)))


@lru_cache(maxsize=4)
def _times(patients: int) -> Floats:
    """How often each draw takes each patient: ``DRAWS`` x patients."""
    draws = generator("patient_mean", patients).multinomial(patients, np.full(patients, 1 / patients), DRAWS)
    return draws.astype(np.float64)


def assumption_free_bound(
    sums: Floats, counts: Floats, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Limits for the expected mean of values that lie within ``bounds``, whatever their distribution.

    By betting (Waudby-Smith & Ramdas, JRSS B 2023): if the mean were m, the capital of a player who stakes a share k of
    the largest possible stake on each patient's excess over m would not grow on average. The average capital over
    several k is compared with 2 / (1 - level) for each end (Markov's inequality). Patients are independent, and none
    has more cases than the one who has the most here. One patient is enough.

    Args:
        sums, counts: each patient's sum of values and number of cases.
        bounds: the smallest and largest possible value, both finite.
        level: coverage, guaranteed.
    """
    low, high = bounds
    weights, means = counts / counts.max(), (sums / counts - low) / (high - low)
    means = np.clip(means, 0.0, 1.0)
    needed = 2 / (1 - level)
    return (
        low + (high - low) * _bet(means, weights, needed),
        high - (high - low) * _bet(1 - means, weights, needed),
    )


def _bet(means: Floats, weights: Floats, needed: float) -> float:
    """The largest mean m that betting on more than m refutes; 0 if none."""
    low, high = 0.0, float(weights @ means / weights.sum())
    for _ in range(30):
        m = (low + high) / 2
        if m == 0:
            return 0.0
        with np.errstate(divide="ignore"):  # whoever has staked everything on a value of 0 has lost it
            logs = np.log1p(np.maximum(_STAKES[:, None] * weights * (means / m - 1), -1.0)).sum(axis=1)
        capital = float(np.exp(np.minimum(logs, 700.0)).mean())
        low, high = (m, high) if capital >= needed else (low, m)
    return low
