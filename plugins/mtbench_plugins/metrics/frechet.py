"""The Frechet distance of two sets of features, exact in float64 for any number of images.

Between Gaussians (Dowson and Landau 1982):

    d^2 = |m1 - m2|^2 + Tr S1 + Tr S2 - 2 Tr (S1 S2)^(1/2)

With any factors F1, F2 such that S = F^T F, the last trace is the sum of the singular values of F1 F2^T. Up
to d + 1 images the centred features themselves are such a factor, so the trace is an N x N problem instead of d x d;
with more images, the factor comes from the eigenvectors of S. No intermediate value can be complex or NaN, and equal
sets are at distance 0 up to float64 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.stages.intervals import Measure
from mtbench_plugins.metrics import any_features
from mtbench_plugins.metrics.resampling import frechet_measure

FEW = 2048
"""Below this number of images the sample covariance of 2048 features is singular."""

_ROWS = 1024

Features = NDArray[np.floating]


@dataclass(frozen=True)
class Moments:
    """Of one set of features, float64.

    Attributes:
        mean: d.
        factor: r x d with factor^T factor = the covariance (divided by N - 1).
        trace: of the covariance.
    """

    mean: torch.Tensor
    factor: torch.Tensor
    trace: float


def moments(features: Features) -> Moments:
    """Mean and factored covariance of N x d features.

    Raises:
        DataError: fewer than two images, or features that are not finite.
    """
    count, width = features.shape
    if count < 2:
        raise DataError(f"a covariance needs at least two images per side; there is {count}")
    total = torch.zeros(width, dtype=torch.float64)
    for start in range(0, count, _ROWS):
        total += _rows(features, start).sum(0)
    mean = total / count
    if not torch.isfinite(mean).all():
        raise DataError("the features hold NaN or infinite values")
    if count <= width + 1:
        factor = (_rows(features, 0, count) - mean) / (count - 1) ** 0.5
        return Moments(mean, factor, float(factor.square().sum()))
    covariance = torch.zeros(width, width, dtype=torch.float64)
    for start in range(0, count, _ROWS):
        rows = _rows(features, start) - mean
        covariance.addmm_(rows.T, rows)
    covariance /= count - 1
    values, vectors = torch.linalg.eigh(covariance)
    factor = values.clamp_min(0).sqrt()[:, None] * vectors.T
    return Moments(mean, factor, float(torch.trace(covariance)))


def _rows(features: Features, start: int, count: int = _ROWS) -> torch.Tensor:
    # Copied, because the array may be a read-only memory map.
    return torch.from_numpy(np.array(features[start : start + count], dtype=np.float64))


def root_trace(first: Moments, second: Moments) -> float:
    """Tr (S1 S2)^(1/2)."""
    return float(torch.linalg.svdvals(first.factor @ second.factor.T).sum())


def frechet_distance(first: Features, second: Features) -> float:
    """The squared Frechet distance of two sets of N x d features, at least 0.

    Raises:
        DataError: a set of fewer than two images, features that are not finite, or of different widths.
    """
    if first.shape[1] != second.shape[1]:
        raise DataError(f"features of width {first.shape[1]} and {second.shape[1]} cannot be compared")
    a, b = moments(first), moments(second)
    distance = float((a.mean - b.mean).square().sum()) + a.trace + b.trace - 2 * root_trace(a, b)
    # Equal sets give zero up to rounding of either sign; a negative distance would only confuse.
    return max(distance, 0.0)


class Fid:
    """The metric ``fid``; its parameters select the features and change nothing here."""

    def __init__(self, **features: object) -> None:
        self._features = features

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The distance of candidates and references; marked ``*`` below 2048 images per side."""
        candidate = inputs.features["candidate"]["pool"]
        reference = inputs.features["reference"]["pool"]
        value = frechet_distance(candidate, reference)
        count = min(len(candidate), len(reference))
        if count >= FEW:
            return Score(value)
        return Score(
            value,
            mark="*",
            note=f"fewer than {FEW} images: biased upwards, comparable only at an equal number of images",
        )

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The distance of some of the slices, fast; see ``mtbench.stages.intervals.Measure``."""
        return frechet_measure(inputs.features["candidate"]["pool"], inputs.features["reference"]["pool"])


class Fd:
    """The metric ``fd``: the same distance on the features of any network.

    Args:
        features: parameters that select the features.
    """

    def __init__(self, **features: object) -> None:
        self._array = any_features.array_of(features)

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The distance of candidates and references; marked ``*`` with no more images than features."""
        candidate, reference = self._sides(inputs)
        value = frechet_distance(candidate, reference)
        width = candidate.shape[1]
        if min(len(candidate), len(reference)) > width:
            return Score(value)
        return Score(
            value,
            mark="*",
            note=f"no more images than features ({width}): biased upwards, comparable only at an equal number of "
            "images",
        )

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The distance of some of the slices, fast; see ``mtbench.stages.intervals.Measure``."""
        return frechet_measure(*self._sides(inputs))

    def _sides(self, inputs: MetricInputs) -> tuple[Features, Features]:
        return inputs.features["candidate"][self._array], inputs.features["reference"][self._array]
