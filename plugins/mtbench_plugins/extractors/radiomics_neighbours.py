"""Radiomic features of neighbouring pixels: co-occurrence (GLCM) and neighbourhood difference (NGTDM).

Definitions: pyradiomics' documentation, classes ``glcm`` and ``ngtdm``, after Haralick et al. 1973 and Amadasun
& King 1989; distance 1, in the image's plane, symmetric matrices, the mean over the four directions.
No matrix is built; only pairs that occur are counted. Level 0 is outside the region and no neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.int64]
Floats = NDArray[np.float64]


def pairs(levels: Levels) -> Iterator[tuple[Levels, Levels]]:
    """The two pixels of each pair of neighbours, for each of the four directions."""
    yield levels[:, :-1].ravel(), levels[:, 1:].ravel()
    yield levels[:-1].ravel(), levels[1:].ravel()
    yield levels[:-1, :-1].ravel(), levels[1:, 1:].ravel()
    yield levels[:-1, 1:].ravel(), levels[1:, :-1].ravel()


def cooccurrence_features(levels: Levels) -> dict[str, float]:
    """The 22 features that frd-score uses of the co-occurrence matrix (GLCM)."""
    highest = int(levels.max())
    directions = [_direction(a, b, highest) for a, b in _inside(levels) if len(a)]
    return {name: sum(one[name] for one in directions) / len(directions) for name in directions[0]}


def _inside(levels: Levels) -> Iterator[tuple[Levels, Levels]]:
    """For each direction the pairs of neighbours that both lie in the region."""
    if levels.min() > 0:
        yield from pairs(levels)
        return
    for first, second in pairs(levels):
        there = (first > 0) & (second > 0)
        yield first[there], second[there]


def _direction(first: Levels, second: Levels, highest: int) -> dict[str, float]:
    """Features of one direction from unordered pairs: p(i, j) = p(j, i) is half of the pair's share."""
    count = len(first)
    single = (np.bincount(first, minlength=highest + 1) + np.bincount(second, minlength=highest + 1)) / (2 * count)
    sums = np.bincount(first + second) / count
    differences = np.bincount(np.abs(first - second)) / count
    codes = np.minimum(first, second) * (highest + 1) + np.maximum(first, second)
    counts = np.bincount(codes)
    occurring = np.flatnonzero(counts)
    joint = counts[occurring] / count
    twice = np.where(occurring // (highest + 1) == occurring % (highest + 1), 1.0, 2.0)
    each = joint / twice

    level, total, apart = (np.arange(len(shares), dtype=np.float64) for shares in (single, sums, differences))
    mean = single @ level
    variance = single @ np.square(level - mean)
    about = total - 2 * mean
    contrast = differences @ np.square(apart)
    tendency = sums @ np.square(about)
    average = differences @ apart
    joint_entropy = float(-(joint * np.log2(each)).sum())
    # With sums of p over i and over j equal, both of Haralick's HXY1 and HXY2 are twice the entropy of one.
    information = max(2 * _entropy(single) - joint_entropy, 0.0)
    return {
        "Autocorrelation": (sums @ np.square(total) - contrast) / 4,
        "JointAverage": mean,
        "ClusterProminence": sums @ about**4,
        "ClusterShade": sums @ about**3,
        "ClusterTendency": tendency,
        "Contrast": contrast,
        "Correlation": (tendency - contrast) / (4 * variance) if variance > 0 else 1.0,
        "DifferenceAverage": average,
        "DifferenceEntropy": _entropy(differences),
        "DifferenceVariance": differences @ np.square(apart - average),
        "JointEnergy": (joint * each).sum(),
        "JointEntropy": joint_entropy,
        "Imc1": -information / _entropy(single) if variance > 0 else 0.0,
        "Imc2": np.sqrt(1 - np.exp(-2 * information)),
        "Idm": (differences / (1 + np.square(apart))).sum(),
        "Idmn": (differences / (1 + np.square(apart / highest))).sum(),
        "Id": (differences / (1 + apart)).sum(),
        "Idn": (differences / (1 + apart / highest)).sum(),
        "InverseVariance": (differences[1:] / np.square(apart[1:])).sum(),
        "MaximumProbability": each.max(),
        "SumEntropy": _entropy(sums),
        "SumSquares": variance,
    }


def _entropy(shares: Floats) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log2(there)).sum())


def neighbourhood_features(levels: Levels) -> dict[str, float]:
    """The five features of the neighbourhood grey tone differences (NGTDM)."""
    region = levels > 0
    around = np.pad(levels, 1).astype(np.float64)
    there = np.pad(region.astype(np.float64), 1)
    height, width = levels.shape
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    total = sum(around[y : y + height, x : x + width] for y, x in shifts)
    neighbours = sum(there[y : y + height, x : x + width] for y, x in shifts)
    flat = levels[region]
    # A pixel without neighbours differs from none.
    apart_from = np.where(neighbours > 0, np.abs(levels - total / np.maximum(neighbours, 1)), 0.0)[region]
    counts = np.bincount(flat)
    level = np.flatnonzero(counts)
    share = counts[level] / flat.size
    away = np.bincount(flat, apart_from)[level]

    i = level.astype(np.float64)
    apart = np.abs(i[:, None] - i)
    weight = share[:, None] + share
    weighted = share * away
    coarse = weighted.sum()
    spread = np.abs((i * share)[:, None] - i * share).sum()
    kinds = len(level)
    return {
        "Coarseness": 1 / coarse if coarse > 0 else 1e6,
        "Contrast": share @ np.square(apart) @ share * away.sum() / flat.size / (kinds * (kinds - 1))
        if kinds > 1
        else 0.0,
        "Busyness": coarse / spread if spread > 0 else 0.0,
        "Complexity": (apart * (weighted[:, None] + weighted) / weight).sum() / flat.size,
        "Strength": (weight * np.square(apart)).sum() / away.sum() if coarse > 0 else 0.0,
    }
