"""The squared maximum mean discrepancy with a Gaussian kernel: ``mmd`` and ``cmmd``.

    k(x, y) = exp(-|x - y|^2 / (2 s^2))

Estimator and standard error are those of :mod:`mtbench_plugins.metrics.kernel_distance`. The bandwidth s of ``mmd`` is
the median heuristic (Gretton et al. 2012, section 8) on the target's training slices: it depends on no translation and
on no test slice, so all rows of a column have the same kernel. Pairs of one patient are excluded, because slices of one
patient are nearly copies and would make the bandwidth that of neighbours within a volume.

With ``per="patient"`` the points x and y are patients: the mean of the features of a volume's slices, then of a
patient's volumes. Ten patients are too few for a covariance (Frechet distances), and this estimator has no bias at any
number. The bandwidth is then the median distance of training patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench.stages.intervals import Measure, Positions
from mtbench_plugins.metrics import any_features
from mtbench_plugins.metrics.kernel_distance import Features, discrepancy, mean_within
from mtbench_plugins.metrics.neighbours import Owners, owners, points, squared_distances
from mtbench_plugins.metrics.regions import groups
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
        bandwidth: of the kernel; ``None`` takes the median distance of training slices or patients.
        per: "slice" or "patient".
        features: parameters that select the features.
    """

    def __init__(self, bandwidth: float | None, per: str = "slice", **features: object) -> None:
        self._bandwidth = bandwidth
        self._patients = per == "patient"
        self._array = any_features.array_of(features)

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The estimate from all images and its standard error.

        Raises:
            DataError: fewer than two images (patients) a side, features that are not finite, unknown patients, or no
                bandwidth.
        """
        kernel, (first, second) = self._kernel(inputs), self._sides(inputs)
        estimate = discrepancy(first, second, kernel)
        note = f"bandwidth {kernel.bandwidth:.4g}"
        if self._patients:
            note += f"; of patients: {len(first)} translated and {len(second)} target, each the mean of its slices"
        return Score(estimate.value, stderr=estimate.stderr, note=note)

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The estimate from some of the slices, fast; see ``mtbench.stages.intervals.Measure``."""
        measure = kernel_measure(*self._sides(inputs), self._kernel(inputs).of_arrays)
        if not self._patients:
            return measure
        of = [_numbers(side) for side in (inputs.candidate, inputs.reference)]

        def by_patient(candidates: Positions | None, references: Positions | None) -> float:
            chosen = (candidates, references)
            return measure(*(None if at is None else np.unique(n[at]) for n, at in zip(of, chosen, strict=True)))

        return by_patient

    def _sides(self, inputs: MetricInputs) -> tuple[Features, Features]:
        first, second = inputs.features["candidate"][self._array], inputs.features["reference"][self._array]
        if not self._patients:
            return first, second
        return features_of_patients(first, inputs.candidate), features_of_patients(second, inputs.reference)

    def _kernel(self, inputs: MetricInputs) -> Gaussian:
        if self._bandwidth is not None:
            return Gaussian(self._bandwidth)
        assert inputs.training is not None
        features = inputs.features["training"][self._array]
        if self._patients:
            features = features_of_patients(features, inputs.training)
            return Gaussian(median_distance(features, np.arange(len(features))))
        return Gaussian(median_distance(features, owners(inputs.training.patients)[0]))


def features_of_patients(features: Features, images: ImageSet | None) -> NDArray[np.float64]:
    """The mean of the features over the slices of each volume, then over the volumes of each patient.

    Args:
        features: N x d, of the slices of ``images``.

    Returns:
        Patients x d, in the order of their first slices.

    Raises:
        DataError: a slice's patient is not known, or there are fewer than two patients.
    """
    numbers = _numbers(images)
    assert images is not None
    if not all(images.patients) or numbers.max(initial=0) < 1:
        raise DataError(
            "there is one patient" if all(images.patients) else "the patients of some slices are not known",
            where="mmd[patient]",
            expected="at least two patients a side",
            remedy="Name the patients (`--patient` of `mtbench score`), or use per=slice",
        )
    volumes = groups(images, "volume")
    means = np.stack([np.asarray(features[at], np.float64).mean(axis=0) for at in volumes.members])
    owners = np.array([numbers[at[0]] for at in volumes.members])
    return np.stack([means[owners == patient].mean(axis=0) for patient in range(int(numbers.max()) + 1)])


def _numbers(images: ImageSet | None) -> NDArray[np.int64]:
    """The number of each slice's patient, in the order of their first slices."""
    assert images is not None
    place = {patient: number for number, patient in enumerate(dict.fromkeys(images.patients))}
    return np.array([place[patient] for patient in images.patients], np.int64)


class Cmmd:
    """The metric ``cmmd``.

    Args:
        estimator: "unbiased" or "biased".
        weights: selects the features; changes nothing here.
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
        """The unbiased estimate from some of the slices: its spread is that of the biased one, up to a share 1 / N."""
        unbiased = kernel_measure(*_embeddings(inputs), Gaussian(CMMD_BANDWIDTH).of_arrays)

        def measure(candidates: Positions | None, references: Positions | None) -> ArrayLike:
            return CMMD_SCALE * np.asarray(unbiased(candidates, references))

        return measure


def _embeddings(inputs: MetricInputs) -> tuple[Features, Features]:
    return inputs.features["candidate"]["features"], inputs.features["reference"]["features"]
