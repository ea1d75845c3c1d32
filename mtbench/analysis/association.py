"""Pearson, Spearman and Kendall correlation of matrix columns, with permutation p-values and leave-one-out values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

EXACT_UP_TO = 8
"""Up to so many points, all permutations are enumerated; with more, ``DRAWS`` random ones."""

DRAWS = 9_999

_SLACK = 1e-9
"""Permutations whose statistic equals the observed one up to rounding count as at least as large."""


def without_rounding(x: Matrix) -> Matrix:
    """Columns divided by their largest value and rounded to twelve digits, so that rounding errors tie."""
    largest = np.abs(x).max(axis=0, initial=0.0)
    return np.round(x / np.where(largest > 0, largest, 1.0), 12)


def pearson(x: Matrix, y: Matrix) -> Matrix:
    """Pearson's r between columns: n x p and n x q to p x q; NaN if a column is constant."""
    return _standard(x).T @ _standard(y)


def spearman(x: Matrix, y: Matrix) -> Matrix:
    """Spearman's rho (tied values share their mean rank)."""
    return pearson(_ranks(x), _ranks(y))


def kendall(x: Matrix, y: Matrix) -> Matrix:
    """Kendall's tau-b."""
    return pearson_uncentred(_signs(x), _signs(y))


METHODS: dict[str, Callable[[Matrix, Matrix], Matrix]] = {
    "pearson": pearson,
    "spearman": spearman,
    "kendall": kendall,
}


def leave_one_out(method: str, x: Matrix, y: Matrix) -> NDArray[np.float64]:
    """The statistic without each point in turn: n x p x q."""
    statistic = METHODS[method]
    return np.stack([statistic(np.delete(x, i, axis=0), np.delete(y, i, axis=0)) for i in range(len(x))])


def p_values(method: str, x: Matrix, y: Matrix) -> Matrix:
    """Two-sided p of the hypothesis that x and y are independent (their points are paired at random): p x q.

    Up to ``EXACT_UP_TO`` points all permutations are enumerated, so their number limits the smallest p. With more,
    ``DRAWS`` seeded permutations; for Kendall, SciPy's null distribution (exact without ties).
    """
    n = len(x)
    observed = METHODS[method](x, y)
    if n > EXACT_UP_TO and method == "kendall":
        return _kendall_p(x, y, observed)
    order = _all_orders(n) if n <= EXACT_UP_TO else _random_orders(n)
    if method == "spearman":
        x, y = _ranks(x), _ranks(y)
    # A permutation changes neither the mean nor the norm of a column, so both are removed once.
    right = _unit(_signs(y)) if method == "kendall" else _standard(y)
    left = x if method == "kendall" else _standard(x)
    length = np.sqrt((_signs(x) ** 2).sum(axis=0)) if method == "kendall" else np.ones(x.shape[1])
    p = np.empty_like(observed)
    for column in range(x.shape[1]):
        shuffled = np.take(left[:, column], order)
        if method == "kendall":
            shuffled = _signs(shuffled.T).T
        count = (np.abs(shuffled @ right) >= (np.abs(observed[column]) - _SLACK) * length[column]).sum(axis=0)
        p[column] = count / len(order) if n <= EXACT_UP_TO else (count + 1) / (len(order) + 1)
    p[np.isnan(observed)] = np.nan
    return p


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; NaN means no test and stays NaN."""
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    tests = np.flatnonzero(~np.isnan(values))
    largest = 0.0
    for place, i in enumerate(tests[np.argsort(values[tests], kind="stable")]):
        largest = max(largest, min(1.0, float(values[i]) * (len(tests) - place)))
        adjusted[i] = largest
    return [float(v) for v in adjusted]


def pearson_uncentred(x: Matrix, y: Matrix) -> Matrix:
    """The cosine between columns; NaN if one is zero."""
    return _unit(x).T @ _unit(y)


def _standard(x: Matrix) -> Matrix:
    """Columns centred and scaled to unit length; NaN if a column is constant."""
    centred = x - x.mean(axis=0)
    # A constant column differs from its rounded mean by rounding alone.
    constant = np.ptp(x, axis=0) == 0
    return _unit(np.where(constant, 0.0, centred))


def _unit(x: Matrix) -> Matrix:
    length = np.sqrt((x**2).sum(axis=0))
    return np.asarray(x / np.where(length == 0, np.nan, length), dtype=np.float64)


def _ranks(x: Matrix) -> Matrix:
    from scipy.stats import rankdata

    return np.asarray(rankdata(x, axis=0), dtype=np.float64)


def _signs(x: Matrix) -> Matrix:
    """The sign of every pair's difference: n x p to n (n - 1) / 2 x p."""
    first, second = np.triu_indices(len(x), 1)
    return np.sign(x[first] - x[second])


@cache
def _all_orders(n: int) -> NDArray[np.int64]:
    return np.array(list(permutations(range(n))), dtype=np.int64)


@cache
def _random_orders(n: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(n)
    return generator.permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)


def _kendall_p(x: Matrix, y: Matrix, observed: Matrix) -> Matrix:
    from scipy.stats import kendalltau

    p = np.full_like(observed, np.nan)
    for i, j in zip(*np.nonzero(~np.isnan(observed)), strict=True):
        p[i, j] = kendalltau(x[:, i], y[:, j]).pvalue
    return p
