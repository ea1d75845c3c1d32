"""The surface of a mask in pieces with a size: lengths of contours in slices, areas of surfaces in volumes.

As in Nikolov et al. (JMIR 2021) and their package ``surface-distance``. Every 2 x 2 (2 x 2 x 2) neighbourhood
of pixel centres, beyond the image too, is a cell; one that holds pixels of both kinds holds a piece of the surface,
which passes halfway between neighbours of different kinds (marching squares and cubes). For distances, a piece lies in
the middle of its cell.

Two choices make the areas those of that package. If pixels of one kind touch only along a face's diagonal, the kind
with fewer pixels in the cell is separated, or the mask if both have four. A piece that is not flat is cut into the
triangles with the largest area. No table is copied; tests compare all 256 cells with that package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mtbench_plugins.metrics.regions import Mask

Floats = NDArray[np.float64]
Corner = tuple[int, ...]
Point = tuple[float, ...]
Segment = tuple[Point, Point]
Triangle = tuple[int, int, int]
Spacing = tuple[float, ...]


def cells(mask: Mask) -> NDArray[np.uint8]:
    """The number of each cell: bit k is the pixel at corner k of ``itertools.product((0, 1), ...)``.

    Args:
        mask: bool, in d = 2 or 3 dimensions.

    Returns:
        One longer than the mask along each axis, 0 (all outside) to 2^(2^d) - 1 (all inside).
    """
    padded = np.pad(mask, 1)
    numbers = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        window = tuple(slice(start, start + n + 1) for start, n in zip(corner, mask.shape, strict=True))
        numbers |= padded[window].view(np.uint8) << np.uint8(bit)
    return numbers


@lru_cache(maxsize=64)
def sizes(spacing: Spacing) -> Floats:
    """The length (two axes) or area (three) of the surface in each cell, by its number; read-only.

    Args:
        spacing: of each axis; sizes are in its unit, or in that unit squared.
    """
    step = np.array(spacing)
    if len(spacing) == 2:
        table = [sum(float(np.linalg.norm((b - a) * step)) for a, b in pieces) for pieces in _lines()]
    else:
        table = [sum(_area(piece, step) for piece in pieces) for pieces in _triangles()]
    result = np.array(table)
    result.setflags(write=False)
    return result


@cache
def _lines() -> tuple[tuple[tuple[Floats, Floats], ...], ...]:
    """The segments in each of the 16 square cells."""
    corners = list(product((0, 1), repeat=2))
    lines = []
    for number in range(16):
        inside = _smaller({c for bit, c in enumerate(corners) if number >> bit & 1}, corners)
        segments = _cut([corners[i] for i in (0, 1, 3, 2)], inside)
        lines.append(tuple((np.array(a), np.array(b)) for a, b in segments))
    return tuple(lines)


@cache
def _triangles() -> tuple[tuple[Floats, ...], ...]:
    """The triangles (3 points x 3 axes) in each of the 256 cubic cells."""
    corners = list(product((0, 1), repeat=3))
    triangles = []
    for number in range(256):
        inside = _smaller({c for bit, c in enumerate(corners) if number >> bit & 1}, corners)
        segments = [segment for face in _faces() for segment in _cut(face, inside)]
        triangles.append(tuple(piece for loop in _loops(segments) for piece in _largest(loop)))
    return tuple(triangles)


def _smaller(inside: set[Corner], corners: Sequence[Corner]) -> set[Corner]:
    """The side of the surface with fewer corners."""
    return inside if 2 * len(inside) <= len(corners) else set(corners) - inside


def _faces() -> Iterator[list[Corner]]:
    """The corners of each face of the cube, going round."""
    for axis, level in product(range(3), (0, 1)):
        yield [tuple(np.insert((a, b), axis, level).tolist()) for a, b in ((0, 0), (0, 1), (1, 1), (1, 0))]


def _cut(ring: Sequence[Corner], inside: set[Corner]) -> Iterator[Segment]:
    """The segments, between middles of edges, that part a square's corners ``inside`` from the others."""
    kinds = [corner in inside for corner in ring]
    middles = [tuple((a + b) / 2 for a, b in zip(ring[i], ring[(i + 1) % 4], strict=True)) for i in range(4)]
    crossed = [i for i in range(4) if kinds[i] != kinds[(i + 1) % 4]]
    if len(crossed) == 2:
        yield middles[crossed[0]], middles[crossed[1]]
    elif crossed:
        yield from ((middles[i - 1], middles[i]) for i in range(4) if kinds[i])


def _loops(segments: Sequence[Segment]) -> Iterator[list[Point]]:
    """The closed polygons that segments make up."""
    rest = list(segments)
    while rest:
        start, end = rest.pop()
        loop = [start]
        while end != start:
            loop.append(end)
            following = next(s for s in rest if end in s)
            rest.remove(following)
            end = following[1] if following[0] == end else following[0]
        yield loop


def _largest(loop: Sequence[Point]) -> list[Floats]:
    """A polygon's triangles, cut so that their areas in a unit cube add up to the most."""
    points = np.array(loop)
    ways = [[points[list(triangle)] for triangle in way] for way in _triangulations(0, len(loop) - 1)]
    return max(ways, key=lambda way: round(sum(_area(piece, np.ones(3)) for piece in way), 9))


def _triangulations(first: int, last: int) -> list[list[Triangle]]:
    """Every way to cut a polygon of points ``first`` to ``last`` into triangles without new points."""
    if last - first < 2:
        return [[]]
    return [
        [(first, middle, last), *left, *right]
        for middle in range(first + 1, last)
        for left in _triangulations(first, middle)
        for right in _triangulations(middle, last)
    ]


def _area(triangle: Floats, step: Floats) -> float:
    a, b, c = triangle * step
    return float(np.linalg.norm(np.cross(b - a, c - a))) / 2
