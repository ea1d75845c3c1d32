"""The energy distance, and a fast way to compute it for parts of the slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

import mtbench

if TYPE_CHECKING:
    from mtbench.stages.intervals import Measure, Positions

Floats = NDArray[np.float64]


class EnergyDistance:
    """The metric ``energy-distance``; the parameters are described in its declaration.

    2 E|X - Y| - E|X - X'| - E|Y - Y'| over pairs of different slices (Szekely and Rizzo 2013, as a U-statistic). It
    is 0 on average for two samples of one distribution, so a single value may be slightly negative.
    """

    def __init__(self, bins: int, cells: int) -> None:
        """The parameters go to the extractor, through ``needs``."""

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        """The distance of the candidates' features from the references'.

        Raises:
            DataError: a side has fewer than two slices.
        """
        return mtbench.Score(float(np.asarray(self.resample(inputs, context)(None, None))))

    def resample(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> Measure:
        """The distance as a function of positions: all pairwise distances are computed once.

        Raises:
            DataError: a side has fewer than two slices.
        """
        ours, theirs = (_features(inputs, side) for side in ("candidate", "reference"))
        within, beyond, across = cdist(ours, ours), cdist(theirs, theirs), cdist(ours, theirs)

        def measure(candidates: Positions | None, references: Positions | None) -> float:
            rows = np.arange(len(ours)) if candidates is None else candidates
            columns = np.arange(len(theirs)) if references is None else references
            inner = _mean_of_pairs(within[np.ix_(rows, rows)]) + _mean_of_pairs(beyond[np.ix_(columns, columns)])
            return float(2 * across[np.ix_(rows, columns)].mean() - inner)

        return measure


def _features(inputs: mtbench.MetricInputs, side: str) -> Floats:
    features: NDArray[Any] = inputs.features[side]["histogram"]
    if len(features) < 2:
        raise mtbench.DataError(
            f"the {side} side has {len(features)} slices", where="metric 'energy-distance'", expected="at least two"
        )
    return features.astype(np.float64)


def _mean_of_pairs(distances: Floats) -> float:
    count = len(distances)
    return float(distances.sum()) / (count * (count - 1))
