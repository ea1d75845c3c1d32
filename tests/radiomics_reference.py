"""Radiomic features as their formulas are printed: matrices filled pixel by pixel, sums over every entry.

Slow and plain on purpose; written from the definitions in pyradiomics' documentation to check the fast code. Level 0 is
outside of the mask: such a pixel is in no matrix, and neighbour of none.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def picture(k: int, side: tuple[int, int] = (40, 40)) -> NDArray[np.uint8]:
    """A picture with texture, a bright disc and 8-bit levels, the same on every machine."""
    y, x = np.indices(side)
    noise = (x * x * 7 + y * y * 13 + x * y * (3 + k) + 31 * k) % 251
    disc = 160 * ((x - 15 - k) ** 2 + (y - 20) ** 2 < 90 + 9 * k)
    smooth = sum(np.roll(noise, (a, b), (0, 1)) for a in range(3) for b in range(3)) // 9
    return np.asarray(np.minimum(smooth // (2 + k % 3) + disc, 255), np.uint8)


def inside(image: NDArray[Any], y: int, x: int) -> bool:
    return y in range(image.shape[0]) and x in range(image.shape[1]) and bool(image[y, x])


def cooccurrence(image: NDArray[Any], step: tuple[int, int]) -> Matrix:
    """p(i, j), symmetric; index 0 is level 1."""
    matrix = np.zeros((image.max(), image.max()))
    for y, x in np.ndindex(image.shape):
        if inside(image, y, x) and inside(image, y + step[0], x + step[1]):
            i, j = image[y, x] - 1, image[y + step[0], x + step[1]] - 1
            matrix[i, j] += 1
            matrix[j, i] += 1
    return np.asarray(matrix / matrix.sum())


def glcm(image: NDArray[Any]) -> dict[str, float]:
    return mean_of([glcm_direction(cooccurrence(image, step)) for step in DIRECTIONS])


def glcm_direction(p: Matrix) -> dict[str, float]:
    count = len(p)
    entries = [(i + 1, j + 1, float(p[i, j])) for i, j in product(range(count), repeat=2)]
    px, py = p.sum(1), p.sum(0)
    ux, uy = (sum(e[axis] * e[2] for e in entries) for axis in (0, 1))
    sx = math.sqrt(sum((i - ux) ** 2 * v for i, _, v in entries))
    sy = math.sqrt(sum((j - uy) ** 2 * v for _, j, v in entries))
    plus = {k: sum(v for i, j, v in entries if i + j == k) for k in range(2, 2 * count + 1)}
    minus = {k: sum(v for i, j, v in entries if abs(i - j) == k) for k in range(count)}
    average = sum(k * v for k, v in minus.items())
    hx, hy, hxy = entropy(px), entropy(py), entropy(p.ravel())
    hxy1 = -sum(v * math.log2(px[i - 1] * py[j - 1]) for i, j, v in entries if v)
    hxy2 = entropy(np.outer(px, py).ravel())
    return {
        "Autocorrelation": sum(i * j * v for i, j, v in entries),
        "JointAverage": ux,
        "ClusterProminence": sum((i + j - ux - uy) ** 4 * v for i, j, v in entries),
        "ClusterShade": sum((i + j - ux - uy) ** 3 * v for i, j, v in entries),
        "ClusterTendency": sum((i + j - ux - uy) ** 2 * v for i, j, v in entries),
        "Contrast": sum((i - j) ** 2 * v for i, j, v in entries),
        "Correlation": (sum(i * j * v for i, j, v in entries) - ux * uy) / (sx * sy) if sx else 1.0,
        "DifferenceAverage": average,
        "DifferenceEntropy": entropy(list(minus.values())),
        "DifferenceVariance": sum((k - average) ** 2 * v for k, v in minus.items()),
        "JointEnergy": sum(v**2 for *_, v in entries),
        "JointEntropy": hxy,
        "Imc1": (hxy - hxy1) / max(hx, hy) if hx else 0.0,
        "Imc2": math.sqrt(max(1 - math.exp(-2 * (hxy2 - hxy)), 0.0)),
        "Idm": sum(v / (1 + k**2) for k, v in minus.items()),
        "Idmn": sum(v / (1 + k**2 / count**2) for k, v in minus.items()),
        "Id": sum(v / (1 + k) for k, v in minus.items()),
        "Idn": sum(v / (1 + k / count) for k, v in minus.items()),
        "InverseVariance": sum(v / k**2 for k, v in minus.items() if k),
        "MaximumProbability": max(v for *_, v in entries),
        "SumEntropy": entropy(list(plus.values())),
        "SumSquares": sum((i - ux) ** 2 * v for i, _, v in entries),
    }


def run_lengths(image: NDArray[Any], step: tuple[int, int]) -> Matrix:
    """Runs by level and length; index 0 is level 1 and length 1."""
    matrix = np.zeros((image.max(), max(image.shape)))
    for y, x in np.ndindex(image.shape):
        before = (y - step[0], x - step[1])
        if not image[y, x]:
            continue
        if inside(image, *before) and image[before] == image[y, x]:
            continue
        length = 1
        while inside(image, y + length * step[0], x + length * step[1]) and (
            image[y + length * step[0], x + length * step[1]] == image[y, x]
        ):
            length += 1
        matrix[image[y, x] - 1, length - 1] += 1
    return matrix


def zone_sizes(image: NDArray[Any]) -> Matrix:
    """Zones by level and size, grown over eight neighbours."""
    matrix = np.zeros((image.max(), image.size))
    seen = np.zeros(image.shape, bool)
    for start in np.ndindex(image.shape):
        if seen[start] or not image[start]:
            continue
        seen[start] = True
        waiting, size = [start], 0
        while waiting:
            y, x = waiting.pop()
            size += 1
            for a, b in product((-1, 0, 1), repeat=2):
                there = (y + a, x + b)
                if inside(image, *there) and not seen[there] and image[there] == image[start]:
                    seen[there] = True
                    waiting.append(there)
        matrix[image[start] - 1, size - 1] += 1
    return matrix


def region_formulas(matrix: Matrix, pixels: int) -> list[float]:
    """The sixteen formulas of GLRLM and GLSZM, in the order in which the documentation numbers them."""
    total = matrix.sum()
    p = matrix / total
    i, j = np.indices(matrix.shape) + 1.0

    def weighted(weights: Matrix) -> float:
        return float((matrix * weights).sum() / total)

    return [
        weighted(1 / j**2),
        weighted(j**2),
        float((matrix.sum(1) ** 2).sum() / total),
        float((matrix.sum(1) ** 2).sum() / total**2),
        float((matrix.sum(0) ** 2).sum() / total),
        float((matrix.sum(0) ** 2).sum() / total**2),
        float(total / pixels),
        float((p * (i - (p * i).sum()) ** 2).sum()),
        float((p * (j - (p * j).sum()) ** 2).sum()),
        entropy(p.ravel()),
        weighted(1 / i**2),
        weighted(i**2),
        weighted(1 / (i**2 * j**2)),
        weighted(i**2 / j**2),
        weighted(j**2 / i**2),
        weighted(i**2 * j**2),
    ]


def neighbourhood(image: NDArray[Any]) -> tuple[Matrix, Matrix]:
    """n_i and s_i; index 0 is level 1."""
    n, s = np.zeros(image.max()), np.zeros(image.max())
    for y, x in zip(*np.nonzero(image), strict=True):
        around = [
            image[y + a, x + b]
            for a, b in product((-1, 0, 1), repeat=2)
            if (a, b) != (0, 0) and inside(image, y + a, x + b)
        ]
        n[image[y, x] - 1] += 1
        if around:
            s[image[y, x] - 1] += abs(image[y, x] - sum(map(int, around)) / len(around))
    return n, s


def ngtdm(image: NDArray[Any]) -> dict[str, float]:
    n, s = neighbourhood(image)
    p = n / n.sum()
    there = [k for k in range(len(p)) if p[k] > 0]
    both = list(product(there, repeat=2))
    ps = float((p * s).sum())
    kinds = len(there)
    spread = sum(abs((i + 1) * p[i] - (j + 1) * p[j]) for i, j in both)
    contrast = sum(p[i] * p[j] * (i - j) ** 2 for i, j in both) * s.sum() / n.sum()
    return {
        "Coarseness": 1 / ps if ps else 1e6,
        "Contrast": contrast / (kinds * (kinds - 1)) if kinds > 1 else 0.0,
        "Busyness": ps / spread if spread else 0.0,
        "Complexity": sum(abs(i - j) * (p[i] * s[i] + p[j] * s[j]) / (p[i] + p[j]) for i, j in both) / n.sum(),
        "Strength": sum((p[i] + p[j]) * (i - j) ** 2 for i, j in both) / s.sum() if s.sum() else 0.0,
    }


def entropy(shares: Any) -> float:
    return -sum(float(v) * math.log2(v) for v in shares if v > 0)


def mean_of(directions: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in directions) / len(directions) for name in directions[0]}
