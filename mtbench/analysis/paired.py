"""Differences between two results on the same cases, with patients, not slices, as the sampling unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.means import DRAWS, patient_mean, totals

FEWEST_PATIENTS = 10
"""With fewer patients there is no interval."""

_EXACT_UP_TO = 14


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference over cases, with the uncertainty of drawing these patients.

    Attributes:
        value: mean over all cases of second minus first.
        stderr, low, high: its standard error and 95 % interval, clustered by patient; ``None`` with fewer than
            ``FEWEST_PATIENTS`` patients.
        p: two-sided, for the hypothesis of no difference; see :func:`paired_difference`.
        patients, cases: their numbers.
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

    The interval is that of a mean over patients (:class:`mtbench.compute.means.PatientMean`). p is the larger of two:

    - of the sign-flip test, which flips the signs of all differences of a patient together (all flips up to 14
      patients, 9,999 seeded ones beyond): exact if first and second are exchangeable within each patient, but it
      tests symmetry, not only equal means;
    - of the studentised bootstrap: it tests equal means for any skew, but only approximately with few patients.

    Returns:
        ``None`` without cases.
    """
    if not len(differences):
        return None
    sums, counts = totals(differences, patients)
    n, cases = len(sums), len(differences)
    if n < FEWEST_PATIENTS:
        return PairedDifference(float(sums.sum() / cases), None, None, None, None, n, cases)
    mean = patient_mean(sums, counts)
    return PairedDifference(mean.value, mean.stderr, *mean.interval(), max(mean.p(), _sign_flip_p(sums)), n, cases)


def smallest_p(patients: int) -> float:
    """The smallest p that :func:`paired_difference` can give for that many patients."""
    return max(2 / (DRAWS + 1), 2.0 ** (1 - patients) if patients <= _EXACT_UP_TO else 0.0)


def _sign_flip_p(sums: NDArray[np.float64]) -> float:
    observed = abs(float(sums.sum()))
    slack = 1e-9 * float(np.abs(sums).sum())
    n = len(sums)
    if n <= _EXACT_UP_TO:
        flips = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(flips @ sums) >= observed - slack).mean())
    flips = np.random.default_rng(n).choice([-1.0, 1.0], size=(DRAWS, n))
    return float(((np.abs(flips @ sums) >= observed - slack).sum() + 1) / (DRAWS + 1))
