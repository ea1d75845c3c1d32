"""The Wasserstein-1 distance of point sets along directions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_DIRECTIONS_AT_ONCE = 16


def distance(first: Floats, second: Floats, directions: Floats, threads: int = 1) -> float:
    """Mean one-dimensional Wasserstein-1 distance of two point sets over directions.

    Args:
        first, second: float32, M1 x D and M2 x D.
        directions: float32, K x D.
        threads: number of blocks of directions in parallel; does not change the result.
    """
    compare = comparison(len(first), len(second))

    def block(start: int) -> float:
        rows = directions[start : start + _DIRECTIONS_AT_ONCE]
        # Rows hold a direction's projections side by side: NumPy sorts contiguous float32 rows many times
        # faster than columns.
        a, b = rows @ first.T, rows @ second.T
        a.sort(axis=1)
        b.sort(axis=1)
        return compare(a, b)

    starts = range(0, len(directions), _DIRECTIONS_AT_ONCE)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return float(sum(pool.map(block, starts))) / len(directions)


@lru_cache(maxsize=16)
def comparison(n_first: int, n_second: int) -> Callable[[Floats, Floats], float]:
    """A function that sums Wasserstein-1 distances over rows of sorted values, K x n_first and K x n_second.

    With equal numbers the k-th smallest values are compared. Otherwise the two quantile functions are step functions
    with known edges: the integral of their absolute difference is a weighted sum over the common pieces.
    """
    if n_first == n_second:
        return lambda a, b: float(np.abs(a - b).mean(axis=1, dtype=np.float64).sum())
    # Edges in units of 1/(n_first * n_second), so that they are exact.
    edges = np.union1d(np.arange(1, n_first + 1) * n_second, np.arange(1, n_second + 1) * n_first)
    widths = (np.diff(edges, prepend=0) / (n_first * n_second)).astype(np.float64)
    of_first, of_second = (edges - 1) // n_second, (edges - 1) // n_first

    def compare(a: Floats, b: Floats) -> float:
        gaps = a.take(of_first, axis=1)
        gaps -= b.take(of_second, axis=1)
        np.abs(gaps, out=gaps)
        return float(gaps.sum(axis=0, dtype=np.float64) @ widths)

    return compare
