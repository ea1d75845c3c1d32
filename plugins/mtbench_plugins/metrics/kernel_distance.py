"""The squared maximum mean discrepancy with KID's kernel, unbiased, in float64 and in bounded memory.

Kernel (Binkowski et al. 2018): k(x, y) = (x.y / d + 1)^3. Estimator (Gretton et al. 2012, their eq. 3):

    sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1))
        - 2 sum_{i, j} k(x_i, y_j) / (m n)

All images at once give the estimate of least variance; the mean over many random subsets, as libraries compute
it, is the same estimate with the noise of the draw added. Its standard error is the delete-one jackknife over
both sets (Arvesen 1969), for images that are independent of each other; slices of one patient are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.errors import ParamError
from mtbench.stages.intervals import Measure
from mtbench_plugins.metrics import network_features
from mtbench_plugins.metrics.kid import DEFAULTS, PRESETS
from mtbench_plugins.metrics.resampling import kernel_measure

LARGEST_SUBSET = 1000

_ROWS = 1024

Features = NDArray[np.floating]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Discrepancy:
    """An estimate with its standard error, ``None`` where a set has fewer than three images."""

    value: float
    stderr: float | None


def _rows(features: Features, start: int) -> torch.Tensor:
    # Copied, as what comes may be a read-only memory map.
    return torch.from_numpy(np.array(features[start : start + _ROWS], dtype=np.float64))


def _tiles(x: Features, y: Features | None = None) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """The kernel matrix in tiles, with the rows and columns that each one covers.

    Within one set (no ``y``) an image's kernel with itself, which the unbiased estimate leaves out, is 0.
    """
    other = x if y is None else y
    for top in range(0, len(x), _ROWS):
        rows = _rows(x, top)
        for left in range(0, len(other), _ROWS):
            itself = y is None and top == left
            columns = rows if itself else _rows(other, left)
            tile = (rows @ columns.T).div_(x.shape[1]).add_(1)
            tile *= tile * tile
            if itself:
                tile.fill_diagonal_(0)
            yield slice(top, top + len(rows)), slice(left, left + len(columns)), tile


def _within(x: Features) -> torch.Tensor:
    """What each image adds to the sum over pairs of its own set."""
    sums = torch.zeros(len(x), dtype=torch.float64)
    for rows, _, tile in _tiles(x):
        sums[rows] += tile.sum(1)
    return sums


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise DataError("the features hold NaN or infinite values")
    return value


def _check(first: Features, second: Features) -> None:
    if first.shape[1] != second.shape[1]:
        raise DataError(f"features of {first.shape[1]} and of {second.shape[1]} numbers cannot be compared")
    if min(len(first), len(second)) < 2:
        raise DataError(f"KID needs at least two images a side; there are {len(first)} and {len(second)}")


def discrepancy(first: Features, second: Features) -> Discrepancy:
    """The unbiased estimate from all images.

    Args:
        first, second: m x d and n x d.

    Raises:
        DataError: a set of fewer than two images, features that are not finite, or of different widths.
    """
    _check(first, second)
    m, n = len(first), len(second)
    # What each image adds to the sums is all that the estimate and its jackknife need.
    within_x, within_y = _within(first), _within(second)
    across, across_y = torch.zeros(m, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for rows, columns, tile in _tiles(first, second):
        across[rows] += tile.sum(1)
        across_y[columns] += tile.sum(0)
    total_x, total_y, total = within_x.sum(), within_y.sum(), across.sum()
    value = _finite(float(total_x / (m * (m - 1)) + total_y / (n * (n - 1)) - 2 * total / (m * n)))
    if min(m, n) < 3:
        return Discrepancy(value, None)
    # The estimate without each image in turn, up to the term of the other set, which stays.
    without_x = (total_x - 2 * within_x) / ((m - 1) * (m - 2)) - 2 * (total - across) / ((m - 1) * n)
    without_y = (total_y - 2 * within_y) / ((n - 1) * (n - 2)) - 2 * (total - across_y) / (m * (n - 1))
    variance = sum((len(w) - 1) * float(w.var(correction=0)) for w in (without_x, without_y))
    return Discrepancy(value, variance**0.5)


def subset_discrepancies(first: Features, second: Features, subsets: int, size: int, seed: int) -> Doubles:
    """The unbiased estimate of each of many random subsets, all from one kernel matrix where that is less work.

    The draws are those of torch-fidelity: NumPy's ``RandomState(seed)``, for each subset ``size`` of the
    first set and then of the second, without replacement.

    Raises:
        DataError: a subset larger than a set.
    """
    _check(first, second)
    m, n = len(first), len(second)
    if size > min(m, n):
        raise DataError(
            f"KID was asked for subsets of {size} images; there are {m} and {n}",
            remedy="Set subset_size to what there is, or leave subsets out to use all images at once",
        )
    random = np.random.RandomState(seed)
    samples = [(random.choice(m, size, replace=False), random.choice(n, size, replace=False)) for _ in range(subsets)]
    if subsets * size * size < m * n:
        return np.array([discrepancy(first[rows_a], second[rows_b]).value for rows_a, rows_b in samples])
    in_x = torch.zeros(subsets, m, dtype=torch.float64)
    in_y = torch.zeros(subsets, n, dtype=torch.float64)
    for row, (rows_a, rows_b) in enumerate(samples):
        in_x[row, torch.from_numpy(rows_a)] = 1
        in_y[row, torch.from_numpy(rows_b)] = 1
    within = _sums(first, None, in_x, in_x) + _sums(second, None, in_y, in_y)
    values = within / (size * (size - 1)) - 2 * _sums(first, second, in_x, in_y) / size**2
    _finite(float(values.sum()))
    result: Doubles = values.numpy()
    return result


def _sums(x: Features, y: Features | None, in_x: torch.Tensor, in_y: torch.Tensor) -> torch.Tensor:
    """The kernel matrix summed over each subset's rows and columns."""
    total = torch.zeros(len(in_x), dtype=torch.float64)
    for rows, columns, tile in _tiles(x, y):
        total += ((in_x[:, rows] @ tile) * in_y[:, columns]).sum(1)
    return total


class Kid:
    """The metric ``kid``.

    Args:
        preset, subsets, subset_size, seed: see the spec; the others say which features it is given.
    """

    def __init__(self, **params: object) -> None:
        settings = network_features.resolve(params, DEFAULTS, PRESETS)
        self._subsets: int | None = settings["subsets"]
        self._size: int | None = settings["subset_size"]
        self._seed: int = settings["seed"]
        if self._subsets is None and self._size is not None:
            raise ParamError(
                "subset_size is given without subsets",
                where="metric 'kid'",
                remedy="Say how many with subsets, or leave both out to use all images at once",
            )

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The estimate; with its standard error where it is made from all images at once."""
        candidate = inputs.features["candidate"]["pool"]
        reference = inputs.features["reference"]["pool"]
        if self._subsets is None:
            estimate = discrepancy(candidate, reference)
            return Score(estimate.value, stderr=estimate.stderr)
        size = self._size or min(LARGEST_SUBSET, len(candidate), len(reference))
        values = subset_discrepancies(candidate, reference, self._subsets, size, self._seed)
        return Score(
            float(values.mean()),
            note=f"mean of {self._subsets} random subsets of {size}, standard deviation {values.std():.3g}",
        )

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The estimate from some of the slices, fast; see ``mtbench.stages.intervals.Measure``."""
        return kernel_measure(inputs.features["candidate"]["pool"], inputs.features["reference"]["pool"])
