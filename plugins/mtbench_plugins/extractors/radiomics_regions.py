"""Radiomic features of regions of one grey level: runs along a line (GLRLM) and connected zones (GLSZM).

Definitions: pyradiomics' documentation, classes ``glrlm`` and ``glszm``, after Galloway 1975 and Thibault et al.
2009. Both describe a list of regions, each with a level and a size, by the same sixteen formulas. Level 0 is outside of
the image's mask and is left out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.int64]

RUNS = ("ShortRun", "LongRun", "RunLength", "Run", "Run")
ZONES = ("SmallArea", "LargeArea", "SizeZone", "Zone", "Zone")
"""The classes' words for small, large, size, one and many in feature names."""


def run_features(levels: Levels) -> dict[str, float]:
    """The 16 features of runs (GLRLM), the mean over the four directions."""
    pixels = int(np.count_nonzero(levels))
    directions = [_regions(*_runs(levels.ravel()[order], starts), pixels) for order, starts in _lines(levels.shape)]
    return {_name(key, RUNS): sum(one[key] for one in directions) / len(directions) for key in directions[0]}


def zone_features(levels: Levels) -> dict[str, float]:
    """The 16 features of zones (GLSZM): pixels of one level that touch at a side or a corner."""
    return {_name(key, ZONES): value for key, value in _regions(*_zones(levels), int(np.count_nonzero(levels))).items()}


def _name(key: str, words: tuple[str, ...]) -> str:
    for placeholder, word in zip(("{small}", "{large}", "{sizes}", "{one}", "{many}"), words, strict=True):
        key = key.replace(placeholder, word)
    return key


def _regions(level: Levels, size: Levels, pixels: int) -> dict[str, float]:
    """The formulas. Names have placeholders for the words for small, large and size."""
    count = len(level)
    i, j = np.square(level.astype(np.float64)), np.square(size.astype(np.float64))
    of_level, of_size = np.bincount(level), np.bincount(size)
    joint = np.unique(level * (int(size.max()) + 1) + size, return_counts=True)[1] / count
    level_squares, size_squares = float(np.square(of_level).sum()), float(np.square(of_size).sum())
    return {
        "{small}Emphasis": (1 / j).mean(),
        "{large}Emphasis": j.mean(),
        "GrayLevelNonUniformity": level_squares / count,
        "GrayLevelNonUniformityNormalized": level_squares / count**2,
        "{sizes}NonUniformity": size_squares / count,
        "{sizes}NonUniformityNormalized": size_squares / count**2,
        "{one}Percentage": count / pixels,
        "GrayLevelVariance": level.var(),
        "{one}Variance": size.var(),
        "{one}Entropy": -(joint * np.log2(joint)).sum(),
        "LowGrayLevel{many}Emphasis": (1 / i).mean(),
        "HighGrayLevel{many}Emphasis": i.mean(),
        "{small}LowGrayLevelEmphasis": (1 / (i * j)).mean(),
        "{small}HighGrayLevelEmphasis": (i / j).mean(),
        "{large}LowGrayLevelEmphasis": (j / i).mean(),
        "{large}HighGrayLevelEmphasis": (i * j).mean(),
    }


def _runs(sequence: Levels, starts: NDArray[np.bool_]) -> tuple[Levels, Levels]:
    begins = starts.copy()
    begins[1:] |= sequence[1:] != sequence[:-1]
    at = np.flatnonzero(begins)
    return _inside(sequence[at], np.diff(at, append=len(sequence)))


def _inside(level: Levels, size: Levels) -> tuple[Levels, Levels]:
    there = level > 0
    return (level, size) if there.all() else (level[there], size[there])


@lru_cache(maxsize=8)
def _lines(shape: tuple[int, int]) -> tuple[tuple[Levels, NDArray[np.bool_]], ...]:
    """For each direction the pixels line by line, and which of them begin a line."""
    y, x = (axis.ravel() for axis in np.indices(shape))
    lines = []
    for line, along in ((y, x), (x, y), (y - x, x), (y + x, x)):
        order = np.lexsort((along, line))
        starts = np.diff(line[order], prepend=line.min() - 1) != 0
        lines.append((order, starts))
    return tuple(lines)


def _zones(levels: Levels) -> tuple[Levels, Levels]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    number = np.arange(levels.size, dtype=np.int32).reshape(levels.shape)
    ends = []
    for first, second in _touching():
        equal = levels[first] == levels[second]
        ends.append((number[first][equal], number[second][equal]))
    rows, columns = (np.concatenate(side) for side in zip(*ends, strict=True))
    edges = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(levels.size, levels.size))
    zones, of_pixel = connected_components(edges, directed=False)
    level = np.empty(zones, np.int64)
    level[of_pixel] = levels.ravel()
    return _inside(level, np.bincount(of_pixel, minlength=zones))


def _touching() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    first, last, every = slice(None, -1), slice(1, None), slice(None)
    return [
        ((every, first), (every, last)),
        ((first, every), (last, every)),
        ((first, first), (last, last)),
        ((first, last), (last, first)),
    ]
