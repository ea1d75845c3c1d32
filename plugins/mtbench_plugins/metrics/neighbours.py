"""Nearest neighbours among features, in float64, tile by tile.

Squared distances are |x|^2 + |y|^2 - 2 x.y of centred features, whose rounding is a share of |x|^2 + |y|^2. So a
distance counts as smaller than another only if it is smaller by more than that: distances that are equal in exact
arithmetic (two copies of one image) are equal here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench import DataError

ROUNDING = 1e-12
"""Of a squared distance, as a share of the squared norms of both points."""

_ROWS = 1024

Features = NDArray[np.floating]
Owners = NDArray[np.int64]


class Points:
    """One set of features, centred and read tile by tile.

    Args:
        features: N x d, finite; may be a memory map.
        owners: the number of each slice's patient.
        centre: d, taken off every row, the same for all sets that are compared.

    Raises:
        DataError: features that are not finite.
    """

    def __init__(self, features: Features, owners: Owners, centre: NDArray[np.float64]) -> None:
        self._features = features
        self._centre = torch.from_numpy(centre)
        self.owners = torch.from_numpy(owners)
        norms = [self.rows(span).square().sum(1) for span in self.spans()]
        self.norms = torch.cat(norms) if norms else torch.zeros(0, dtype=torch.float64)
        if not torch.isfinite(self.norms).all():
            raise DataError("the features hold NaN or infinite values")

    def __len__(self) -> int:
        return len(self._features)

    def spans(self) -> Iterator[slice]:
        """The tiles' rows."""
        for start in range(0, len(self), _ROWS):
            yield slice(start, min(start + _ROWS, len(self)))

    def rows(self, span: slice) -> torch.Tensor:
        """Centred features, float64."""
        # Copied, as what comes may be a read-only memory map.
        return torch.from_numpy(np.array(self._features[span], dtype=np.float64)) - self._centre


def points(sets: Sequence[tuple[Features, Owners]]) -> list[Points]:
    """Sets that are compared with each other, centred at the mean of the first.

    Raises:
        DataError: sets of different widths, or features that are not finite.
    """
    widths = {features.shape[1] for features, _ in sets}
    if len(widths) > 1:
        raise DataError("features of {} and of {} numbers cannot be compared".format(*sorted(widths)))
    centre = sets[0][0].mean(axis=0, dtype=np.float64)
    return [Points(features, owners, centre) for features, owners in sets]


def owners(*sets: Sequence[str]) -> list[Owners]:
    """The patients of several image sets as numbers, the same number for the same person.

    A slice whose patient is not known (an empty text) counts as a separate patient.
    """
    numbers: dict[object, int] = {}
    result = []
    for number, patients in enumerate(sets):
        names = [patient or (number, at) for at, patient in enumerate(patients)]
        result.append(np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64))
    return result


def squared_distances(x: Points, rows: slice, y: Points, columns: slice) -> torch.Tensor:
    """Squared distances of some points of two sets, float64, at least 0."""
    products = x.rows(rows) @ y.rows(columns).T
    return products.mul_(-2).add_(x.norms[rows][:, None]).add_(y.norms[columns]).clamp_min_(0)


def closer(distances: torch.Tensor, than: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Where squared distances are smaller than others by more than rounding.

    Args:
        distances: n x m, squared.
        than: squared; broadcast against them.
        x, y: the squared norms of the n and of the m points.
    """
    return distances + ROUNDING * (x[:, None] + y) < than


def nearest(x: Points, y: Points) -> torch.Tensor:
    """The squared distance of each point of ``x`` to the nearest of ``y`` of another owner; inf without one."""
    result = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for rows in x.spans():
        for columns in y.spans():
            tile = squared_distances(x, rows, y, columns)
            tile[x.owners[rows][:, None] == y.owners[columns]] = torch.inf
            torch.minimum(result[rows], tile.amin(1), out=result[rows])
    return result


def radii(x: Points, k: int) -> torch.Tensor:
    """The squared distance of each point to its k-th nearest neighbour of another owner.

    Raises:
        DataError: a point has fewer than k such neighbours.
    """
    counts = torch.bincount(x.owners)
    fewest = len(x) - int(counts.max())
    if fewest < k:
        raise DataError(
            f"a patient's slices have {fewest} neighbours of other patients",
            expected=f"at least k = {k}",
            remedy="Use a smaller k, or more patients",
        )
    best = torch.full((len(x), k), torch.inf, dtype=torch.float64)

    def keep(rows: slice, tile: torch.Tensor) -> None:
        best[rows] = torch.cat([best[rows], tile], 1).topk(k, 1, largest=False).values

    for rows in x.spans():
        for columns in x.spans():
            if columns.start < rows.start:
                continue
            # The matrix is symmetric: each tile serves its rows and its columns.
            tile = squared_distances(x, rows, x, columns)
            tile[x.owners[rows][:, None] == x.owners[columns]] = torch.inf
            keep(rows, tile)
            if columns != rows:
                keep(columns, tile.T)
    return best.amax(1)
