"""The squared maximum mean discrepancy with a Gaussian kernel: ``mmd`` and ``cmmd``.

    k(x, y) = exp(-|x - y|^2 / (2 s^2))

Estimator and standard error are those of :mod:`mtbench_plugins.metrics.kernel_distance`. The bandwidth s of ``mmd`` is
the median heuristic (Gretton et al. 2012, section 8) on the target's training slices: it depends on no translation and
on no test slice, so all rows of a column have the same kernel. Pairs of one patient are left out, because slices of one
patient are nearly copies and would make the bandwidth that of neighbours within a volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.stages.intervals import Measure, Positions
from mtbench_plugins.metrics import any_features
from mtbench_plugins.metrics.kernel_distance import Features, discrepancy, mean_within
from mtbench_plugins.metrics.neighbours import Owners, owners, points, squared_distances
from mtbench_plugins.metrics.resampling import kernel_measure

MOST = 2000
"""Training slices that the bandwidth is estimated from, evenly spaced where there are more."""

CMMD_BANDWIDTH, CMMD_SCALE = 10.0, 1000.0
"""Of the paper and of its published code."""


@dataclass(frozen=True)
class Gaussian:
    """The kernel.

    Args:
        bandwidth: s, in the unit of the features.
    """

    bandwidth: float

    def __call__(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """The kernel matrix of n x d and m x d features."""
        distances = (rows @ columns.T).mul_(-2)
        distances += rows.square().sum(1)[:, None]
        distances += columns.square().sum(1)
        return distances.clamp_min_(0).mul_(-0.5 / self.bandwidth**2).exp_()

    def of_arrays(self, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of NumPy arrays."""
        matrix: NDArray[np.float64] = self(torch.from_numpy(rows), torch.from_numpy(columns)).numpy()
        return matrix


def median_distance(features: Features, patients: Owners) -> float:
    """The median distance of slices of different patients.

    Raises:
        DataError: one patient only, or more than half of the pairs are equal.
    """
    if len(features) > MOST:
        chosen = np.linspace(0, len(features) - 1, MOST).round().astype(np.int64)
        features, patients = features[chosen], patients[chosen]
    (side,) = points([(features, patients)])
    pairs = torch.triu(side.owners[:, None] != side.owners, diagonal=1)
    if not pairs.any():
        raise DataError("the target's training slices are of one patient", expected="two patients")
    squared = squared_distances(side, slice(None), side, slice(None))[pairs].numpy()
    median = float(np.median(np.sqrt(squared)))
    if median == 0:
        raise DataError(
            "more than half of the target's training slices have equal features, so the kernel has no bandwidth",
            remedy="Set bandwidth, or use another extractor",
        )
    return median


class Mmd:
    """The metric ``mmd``.

    Args:
        bandwidth: of the kernel; ``None`` takes the median distance of training slices.
        features: which features it is given.
    """

    def __init__(self, bandwidth: float | None, **features: object) -> None:
        self._bandwidth = bandwidth
        self._array = any_features.array_of(features)

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The estimate from all images and its standard error.

        Raises:
            DataError: fewer than two images a side, features that are not finite, or no bandwidth.
        """
        kernel = self._kernel(inputs)
        estimate = discrepancy(*self._sides(inputs), kernel)
        return Score(estimate.value, stderr=estimate.stderr, note=f"bandwidth {kernel.bandwidth:.4g}")

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The estimate from some of the slices, fast; see ``mtbench.stages.intervals.Measure``."""
        return kernel_measure(*self._sides(inputs), self._kernel(inputs).of_arrays)

    def _sides(self, inputs: MetricInputs) -> tuple[Features, Features]:
        return inputs.features["candidate"][self._array], inputs.features["reference"][self._array]

    def _kernel(self, inputs: MetricInputs) -> Gaussian:
        if self._bandwidth is not None:
            return Gaussian(self._bandwidth)
        assert inputs.training is not None
        features = inputs.features["training"][self._array]
        return Gaussian(median_distance(features, owners(inputs.training.patients)[0]))


class Cmmd:
    """The metric ``cmmd``.

    Args:
        estimator: "unbiased" or "biased".
        weights: which features it is given; changes nothing here.
    """

    def __init__(self, estimator: str, weights: str | None = None) -> None:
        self._biased = estimator == "biased"

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """1000 times the estimate, and its standard error where it is unbiased.

        Raises:
            DataError: fewer than two images a side, or features that are not finite.
        """
        kernel, sides = Gaussian(CMMD_BANDWIDTH), _embeddings(inputs)
        estimate = discrepancy(*sides, kernel)
        value = estimate.value
        if self._biased:
            # Each image's kernel with itself is 1.
            value += sum((1 - mean_within(rows, kernel)) / len(rows) for rows in sides)
        stderr = None if estimate.stderr is None else CMMD_SCALE * estimate.stderr
        return Score(CMMD_SCALE * value, stderr=stderr)

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The unbiased estimate from some of the slices: its spread is that of the biased one but for a share 1 / N."""
        unbiased = kernel_measure(*_embeddings(inputs), Gaussian(CMMD_BANDWIDTH).of_arrays)

        def measure(candidates: Positions | None, references: Positions | None) -> ArrayLike:
            return CMMD_SCALE * np.asarray(unbiased(candidates, references))

        return measure


def _embeddings(inputs: MetricInputs) -> tuple[Features, Features]:
    return inputs.features["candidate"]["features"], inputs.features["reference"]["features"]
