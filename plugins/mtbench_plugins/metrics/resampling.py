"""Distances on features for many selections of slices; whatever all selections share is computed once.

Each function returns a measure: positions of candidates and of references (``None`` for all, no repeats) to the
metric's value. They exist for intervals, where a distance is computed hundreds of times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Measure = Callable[[Positions | None, Positions | None], float]
Floats = NDArray[np.float64]
Features = NDArray[Any]


def frechet_measure(first: Features, second: Features) -> Measure:
    """The squared Frechet distance of N x d and M x d features.

    With no more slices than features per side, the trace of the root is the sum of singular values of the doubly
    centred N x M products, which are computed once; otherwise it is a d x d problem. Singular values come from the
    eigenvalues of the square: 1e-6 relative, accurate enough for a spread.
    """
    shift = second.mean(axis=0, dtype=np.float64)
    x, y = first.astype(np.float64) - shift, second.astype(np.float64) - shift
    few = min(len(x), len(y)) <= x.shape[1]
    products = x @ y.T if few else None

    def measure(candidates: Positions | None, references: Positions | None) -> float:
        a, b = _rows(x, candidates), _rows(y, references)
        mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
        n, m = len(a) - 1, len(b) - 1
        traces = (np.square(a).sum() - len(a) * mean_a @ mean_a) / n
        traces += (np.square(b).sum() - len(b) * mean_b @ mean_b) / m
        if products is not None:
            across = _rows(_rows(products, candidates).T, references)
            across = across - across.mean(axis=0) - across.mean(axis=1, keepdims=True) + across.mean()
            square = across @ across.T if len(across) < across.shape[1] else across.T @ across
            roots = _roots(square) / np.sqrt(n * m)
        else:
            left, right = a - mean_a, b - mean_b
            factor = _factor(left.T @ left / n)
            roots = _roots(factor.T @ (right.T @ right / m) @ factor)
        return float(np.square(mean_a - mean_b).sum() + traces - 2 * roots)

    return measure


def kernel_measure(
    first: Features, second: Features, kernel: Callable[[Floats, Floats], Floats] | None = None
) -> Measure:
    """The unbiased squared MMD, by default with KID's kernel, from kernel matrices that are computed once."""
    of = kernel or _cubic
    x, y = first.astype(np.float64), second.astype(np.float64)
    within_x, within_y, across = of(x, x), of(y, y), of(x, y)
    np.fill_diagonal(within_x, 0)
    np.fill_diagonal(within_y, 0)

    def measure(candidates: Positions | None, references: Positions | None) -> float:
        a, b = _indicator(len(x), candidates), _indicator(len(y), references)
        n, m = a.sum(), b.sum()
        inner = a @ within_x @ a / (n * (n - 1)) + b @ within_y @ b / (m * (m - 1))
        return float(inner - 2 * (a @ across @ b) / (n * m))

    return measure


def class_spread_measure(logits: Features, split: NDArray[np.int64]) -> Measure:
    """The mean over splits of the Inception Score, each slice staying in its split when others are removed.

    Args:
        logits: N x classes.
        split: of each slice, 0, 1, ...; a split without slices is omitted.
    """
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    log_p: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    entropies = (p * log_p).sum(axis=1)

    def measure(candidates: Positions | None, references: Positions | None) -> float:
        positions, of = (v if candidates is None else v[candidates] for v in (np.arange(len(p)), split))
        values = []
        for part in (positions[of == s] for s in range(int(split.max()) + 1)):
            if len(part):
                marginal = p[part].mean(axis=0)
                overall = (marginal * np.log(np.maximum(marginal, 1e-300))).sum()
                values.append(np.exp(entropies[part].mean() - overall))
        return float(np.mean(values))

    return measure


def split_numbers(order: NDArray[np.int64], splits: int) -> NDArray[np.int64]:
    """The split of each slice, where split i of S holds ``order[i N // S : (i + 1) N // S]``."""
    numbers = np.empty(len(order), np.int64)
    for index in range(splits):
        numbers[order[index * len(order) // splits : (index + 1) * len(order) // splits]] = index
    return numbers


def _factor(covariance: Floats) -> Floats:
    """F with F F^T = covariance: Cholesky's, which costs a tenth, or the eigenvectors' where that does not exist."""
    factor: Floats
    try:
        factor = np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        factor = vectors * np.sqrt(np.maximum(values, 0))
    return factor


def _rows(array: Floats, positions: Positions | None) -> Floats:
    return array if positions is None else array[positions]


def _roots(square: Floats) -> float:
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(square), 0)).sum())


def _cubic(x: Floats, y: Floats) -> Floats:
    kernel: Floats = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def _indicator(count: int, positions: Positions | None) -> Floats:
    if positions is None:
        return np.ones(count)
    indicator = np.zeros(count)
    indicator[positions] = 1
    return indicator
