"""The squared maximum mean discrepancy, unbiased, in float64 and in bounded memory; the metric ``kid``.

KID's kernel (Binkowski et al. 2018): k(x, y) = (x.y / d + 1)^3. Estimator (Gretton et al. 2012, their eq. 3):

    sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (n (n - 1))
        - 2 sum_{i, j} k(x_i, y_j) / (m n)

All images at once give the estimate of least variance; the mean over many random subsets, as libraries compute
it, is the same estimate plus the noise of the draw.

Its variance, for images that are independent of each other (slices of one patient are not), is that of a
two-sample U-statistic (Hoeffding 1948). With the covariances A, B of the kernel's features of x and y and the
witness f(z) = E k(x, z) - E k(y, z):

    4 Var f(x) / m + 4 Var f(y) / n  +  2 |A|^2 / (m (m - 1)) + 2 |B|^2 / (n (n - 1)) + 4 <A, B> / (m n)

If both sets have the same distribution, the first two terms vanish, and the delete-one jackknife, which counts the
other three twice, gives an error that is 1.4 times too large. So these three are estimated (|A|^2 as HSIC in Song et
al. 2012, eq. 5) and the jackknife's excess is subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From n x d and m x d features, float64, to their n x m kernel matrix, a new tensor."""
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Discrepancy:
    """An estimate with its standard error, ``None`` if a set has fewer than four images."""

    value: float
    stderr: float | None


def _rows(features: Features, start: int) -> torch.Tensor:
    # Copied, because the array may be a read-only memory map.
    return torch.from_numpy(np.array(features[start : start + _ROWS], dtype=np.float64))


def cubic(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """KID's kernel."""
    products = (rows @ columns.T).div_(rows.shape[1]).add_(1)
    products *= products * products
    return products


def _tiles(
    x: Features, y: Features | None, kernel: Kernel, level: float = 0.0
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """The kernel matrix minus ``level`` in tiles, with the rows and columns that each one covers.

    Within one set (no ``y``) an image's kernel with itself, which the unbiased estimate excludes, is 0.
    """
    other = x if y is None else y
    for top in range(0, len(x), _ROWS):
        rows = _rows(x, top)
        for left in range(0, len(other), _ROWS):
            itself = y is None and top == left
            columns = rows if itself else _rows(other, left)
            tile = kernel(rows, columns)
            tile -= level
            if itself:
                tile.fill_diagonal_(0)
            yield slice(top, top + len(rows)), slice(left, left + len(columns)), tile


@dataclass(frozen=True)
class _Sums:
    """Of a kernel matrix: its rows, its columns, and its squares."""

    rows: torch.Tensor
    columns: torch.Tensor
    squares: float


def _summed(x: Features, y: Features | None, kernel: Kernel, level: float) -> _Sums:
    rows = torch.zeros(len(x), dtype=torch.float64)
    columns = torch.zeros(len(x if y is None else y), dtype=torch.float64)
    squares = 0.0
    for top, left, tile in _tiles(x, y, kernel, level):
        rows[top] += tile.sum(1)
        columns[left] += tile.sum(0)
        squares += float(tile.square().sum())
    return _Sums(rows, columns, squares)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise DataError("the features hold NaN or infinite values")
    return value


def _check(first: Features, second: Features) -> None:
    if first.shape[1] != second.shape[1]:
        raise DataError(f"features of width {first.shape[1]} and {second.shape[1]} cannot be compared")
    if min(len(first), len(second)) < 2:
        raise DataError(f"at least two images per side are needed; there are {len(first)} and {len(second)}")


def discrepancy(first: Features, second: Features, kernel: Kernel = cubic) -> Discrepancy:
    """The unbiased estimate from all images.

    Args:
        first, second: m x d and n x d.
        kernel: of the discrepancy.

    Raises:
        DataError: a set of fewer than two images, features that are not finite, or of different widths.
    """
    _check(first, second)
    m, n = len(first), len(second)
    # Subtracting a constant from the kernel changes neither number and avoids cancellation.
    means = [_rows(features.mean(axis=0, dtype=np.float64)[None], 0) for features in (first, second)]
    level = float(kernel(*means))
    within_x, within_y = _summed(first, None, kernel, level), _summed(second, None, kernel, level)
    across = _summed(first, second, kernel, level)
    value = _finite(
        float(
            within_x.rows.sum() / (m * (m - 1)) + within_y.rows.sum() / (n * (n - 1)) - 2 * across.rows.sum() / (m * n)
        )
    )
    if min(m, n) < 4:
        return Discrepancy(value, None)
    return Discrepancy(value, _variance(within_x, within_y, across) ** 0.5)


def mean_within(features: Features, kernel: Kernel) -> float:
    """The mean kernel of pairs of different images of one set of at least two."""
    count = len(features)
    return float(_summed(features, None, kernel, 0.0).rows.sum()) / (count * (count - 1))


def _variance(within_x: _Sums, within_y: _Sums, across: _Sums) -> float:
    """Standard error of the estimate, from at least four images per side; see the module."""
    m, n = len(across.rows), len(across.columns)
    a, b, ab = _squared_norm(within_x), _squared_norm(within_y), _inner_product(across)
    jackknife = 4 / m * float((within_x.rows / (m - 2) - across.rows / n).var(correction=1))
    jackknife += 4 / n * float((within_y.rows / (n - 2) - across.columns / m).var(correction=1))
    surplus = a * (4 / (m * (m - 2)) - 2 / (m * (m - 1))) + b * (4 / (n * (n - 2)) - 2 / (n * (n - 1)))
    surplus += 4 * ab / (m * n)
    of_pairs = 2 * a / (m * (m - 1)) + 2 * b / (n * (n - 1)) + 4 * ab / (m * n)
    # The difference has no bias and can be negative; half of the pairs' contribution is a floor with hardly any bias.
    return max(jackknife - surplus, of_pairs / 2, 0.0)


def _squared_norm(within: _Sums) -> float:
    """The squared Hilbert-Schmidt norm of the covariance behind a kernel matrix without its diagonal, unbiased."""
    m, rows = len(within.rows), within.rows
    total, squares = float(rows.sum()), float(rows.square().sum())
    return (within.squares + total**2 / ((m - 1) * (m - 2)) - 2 * squares / (m - 2)) / (m * (m - 3))


def _inner_product(across: _Sums) -> float:
    """The inner product of the covariances of both sets, unbiased: the doubly centred kernel matrix, squared."""
    m, n, total = len(across.rows), len(across.columns), float(across.rows.sum())
    rows, columns = float(across.rows.square().sum()), float(across.columns.square().sum())
    return (across.squares - rows / n - columns / m + total**2 / (m * n)) / ((m - 1) * (n - 1))


def subset_discrepancies(first: Features, second: Features, subsets: int, size: int, seed: int) -> Doubles:
    """The unbiased estimate of each of many random subsets, all from one kernel matrix if that is less work.

    The draws are those of torch-fidelity: NumPy's ``RandomState(seed)``, for each subset ``size`` of the
    first set and then of the second, without replacement.

    Raises:
        DataError: a subset larger than a set.
    """
    _check(first, second)
    m, n = len(first), len(second)
    if size > min(m, n):
        raise DataError(
            f"KID subsets of {size} images are larger than the sets, which have {m} and {n} images",
            remedy="Set a smaller subset_size, or omit subsets to use all images at once",
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
    for rows, columns, tile in _tiles(x, y, cubic):
        total += ((in_x[:, rows] @ tile) * in_y[:, columns]).sum(1)
    return total


class Kid:
    """The metric ``kid``.

    Args:
        preset, subsets, subset_size, seed: see the spec; the others select the features.
    """

    def __init__(self, **params: object) -> None:
        settings = network_features.resolve(params, DEFAULTS, PRESETS)
        self._subsets: int | None = settings["subsets"]
        self._size: int | None = settings["subset_size"]
        self._seed: int = settings["seed"]
        if self._subsets is None and self._size is not None:
            raise ParamError(
                "subset_size is set without subsets",
                where="metric 'kid'",
                remedy="Set the number of subsets too, or omit both to use all images at once",
            )

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The estimate and its standard error.

        The variance of the subsets' mean is that of the estimate from all images plus, for fixed images, that of a mean
        of so many draws. With one subset the second is not known, so there is no standard error.
        """
        candidate = inputs.features["candidate"]["pool"]
        reference = inputs.features["reference"]["pool"]
        if self._subsets is None:
            estimate = discrepancy(candidate, reference)
            return Score(estimate.value, stderr=estimate.stderr)
        size = self._size or min(LARGEST_SUBSET, len(candidate), len(reference))
        values = subset_discrepancies(candidate, reference, self._subsets, size, self._seed)
        whole = discrepancy(candidate, reference).stderr if len(values) > 1 else None
        return Score(
            float(values.mean()),
            stderr=None if whole is None else math.hypot(whole, float(values.std(ddof=1)) / math.sqrt(len(values))),
            note=f"mean of {self._subsets} random subsets of {size}, standard deviation {values.std():.3g}",
        )

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The estimate from some of the slices, fast; see ``mtbench.stages.intervals.Measure``."""
        return kernel_measure(inputs.features["candidate"]["pool"], inputs.features["reference"]["pool"])
