"""Differences of two results on the same cases: patients, not slices, are what was sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_PATIENTS = 10
"""With fewer patients an interval means little: none is given."""

_EXACT_UP_TO = 14
_DRAWS = 9_999


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference over cases, with the uncertainty of drawing these patients.

    Attributes:
        value: mean over all cases of second minus first.
        stderr, low, high: its standard error and 95 % interval, clustered by patient; ``None`` with fewer than
            ``FEWEST_PATIENTS`` patients.
        p: two-sided, of the hypothesis that first and second are exchangeable within each patient.
        patients, cases: how many there are.
    """

    value: float
    stderr: float | None
    low: float | None
    high: float | None
    p: float | None
    patients: int
    cases: int


def paired_difference(differences: Sequence[float], patients: Sequence[str]) -> PairedDifference | None:
    """The mean of paired differences, one per case, with patients as clusters.

    The interval is that of a ratio of patient totals (linearised, Student's t with one degree of freedom less than
    patients); p is from flipping the sign of all differences of a patient at once: all flips up to 14 patients,
    9,999 seeded ones beyond.

    Returns:
        ``None`` where there is no case.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        return None
    _, cluster = np.unique(np.asarray(patients), return_inverse=True)
    sums, sizes = np.bincount(cluster, weights=values).astype(np.float64), np.bincount(cluster)
    count, mean = len(sums), float(values.mean())
    if count < FEWEST_PATIENTS:
        return PairedDifference(mean, None, None, None, None, count, len(values))
    from scipy.stats import t

    residual = sums - mean * sizes
    stderr = float(np.sqrt(count / (count - 1) * (residual**2).sum()) / sizes.sum())
    reach = stderr * float(t.ppf(0.975, count - 1))
    return PairedDifference(mean, stderr, mean - reach, mean + reach, _sign_flip_p(sums), count, len(values))


def smallest_p(patients: int) -> float:
    """The smallest p that :func:`paired_difference` can give for that many patients."""
    return 2.0 ** (1 - patients) if patients <= _EXACT_UP_TO else 1 / (_DRAWS + 1)


def _sign_flip_p(sums: NDArray[np.float64]) -> float:
    observed = abs(float(sums.sum()))
    slack = 1e-9 * float(np.abs(sums).sum())
    n = len(sums)
    if n <= _EXACT_UP_TO:
        flips = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(flips @ sums) >= observed - slack).mean())
    flips = np.random.default_rng(n).choice([-1.0, 1.0], size=(_DRAWS, n))
    return float(((np.abs(flips @ sums) >= observed - slack).sum() + 1) / (_DRAWS + 1))
