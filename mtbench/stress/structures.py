"""Damage to one labelled structure of a slice: a connected part of a label, drawn at random.

A slice that holds no structure of a fitting size stays as it is. Strengths in mm are in pixels if the spacing is
unknown.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtbench.stress.anatomy import distance_from
from mtbench.stress.appearance import Rng
from mtbench.stress.pixels import Labels, Pixels, erased, warped

Region = NDArray[np.bool_]
SMALLEST, LARGEST = 0.001, 0.2
"""Share of the slice that a structure covers."""


def structure(pixels: Pixels, rng: Rng) -> Region | None:
    """A random connected part of a label, H x W, or ``None`` if no part has a fitting size."""
    if pixels.mask is None:
        return None
    parts = []
    for label in np.unique(pixels.mask[pixels.mask > 0]):
        numbers, count = ndimage.label(pixels.mask == label)
        areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:] / numbers.size
        parts += [(numbers, i + 1) for i in np.flatnonzero((areas >= SMALLEST) & (areas <= LARGEST))]
    if not parts:
        return None
    numbers, number = parts[int(rng.integers(len(parts)))]
    region: Region = numbers == number
    return region


def remove(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """So large a share of the structure, from one side, replaced by its surroundings."""
    region = structure(pixels, rng)
    return pixels if region is None else erased(pixels, _share(region, strength, rng), region)


def duplicate(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """So large a share of the structure copied beside it, one and a half widths away."""
    region = structure(pixels, rng)
    if region is None:
        return pixels
    part = _share(region, strength, rng)
    return _pasted(pixels, pixels, part, _step_aside(region, pixels.mask))


def move(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """The structure cut out and put down so many mm away, in a random direction."""
    region, angle = structure(pixels, rng), rng.uniform(0, 2 * np.pi)
    if region is None:
        return pixels
    step = (round(strength * np.sin(angle) / pixels.spacing[0]), round(strength * np.cos(angle) / pixels.spacing[1]))
    if step == (0, 0):
        return pixels
    distance = float(np.hypot(step[0] * pixels.spacing[0], step[1] * pixels.spacing[1]))
    moved = _pasted(pixels, erased(pixels, region, region), region, step)
    return replace(moved, displacement=distance * float(region[pixels.body].sum() / pixels.body.sum()))


def enlarge(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """The structure 1 + strength times as high and wide; what surrounds it is pressed together."""
    region = structure(pixels, rng)
    if region is None or not strength:
        return pixels
    centre = ndimage.center_of_mass(region)
    radius = float(np.sqrt(region.sum() / np.pi))
    # Full scale over the structure and its growth, fading to none at three times that reach.
    reach = float(distance_from(centre, pixels.size)[region].max()) * (1 + strength)
    reach = max(reach, radius)
    fade = np.clip((3 * reach - distance_from(centre, pixels.size)) / (2 * reach), 0, 1)
    rows, columns = np.indices(pixels.size, dtype=np.float64)
    inward = (1 / (1 + strength) - 1) * fade
    return warped(pixels, (rows - centre[0]) * inward, (columns - centre[1]) * inward)


def fill(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Gaps of the structure's label up to twice so many mm wide filled with its tissue, all over the slice."""
    region = structure(pixels, rng)
    if region is None or pixels.mask is None or not strength:
        return pixels
    label = pixels.mask[region][0]
    of_label = pixels.mask == label
    far = ndimage.distance_transform_edt(~of_label, sampling=pixels.spacing) > strength
    # A closing: what no disc of that radius outside the label reaches.
    closed = ndimage.distance_transform_edt(~far, sampling=pixels.spacing) > strength if far.any() else of_label
    gaps = closed & ~of_label
    rows, columns = ndimage.distance_transform_edt(~of_label, return_distances=False, return_indices=True)
    image = np.where(gaps, pixels.image[:, rows, columns], pixels.image).astype(np.float32)
    return replace(pixels, image=image, mask=np.where(gaps, label, pixels.mask).astype(np.uint8))


def _share(region: Region, share: float, rng: Rng) -> Region:
    """The part of a region on one side of a line in a random direction; ``share`` of its area."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.nonzero(region)
    order = np.argsort(rows * np.sin(angle) + columns * np.cos(angle), kind="stable")
    chosen = order[: round(share * len(order))]
    part = np.zeros_like(region)
    part[rows[chosen], columns[chosen]] = True
    return part


def _step_aside(region: Region, mask: Labels | None) -> tuple[int, int]:
    """One and a half widths along the axis and to the side on which the copy covers least of what is labelled alike."""
    height, width = (len(np.flatnonzero(region.any(axis))) for axis in (1, 0))
    steps = [(side * round(1.5 * height), 0) for side in (-1, 1)] + [(0, side * round(1.5 * width)) for side in (-1, 1)]
    alike = region if mask is None else mask == mask[region][0]

    def lost(step: tuple[int, int]) -> int:
        rows, columns = (index + by for index, by in zip(np.nonzero(region), step, strict=True))
        inside = (rows >= 0) & (rows < region.shape[0]) & (columns >= 0) & (columns < region.shape[1])
        return int((~inside).sum() + alike[rows[inside], columns[inside]].sum())

    return min(steps, key=lost)


def _pasted(source: Pixels, onto: Pixels, region: Region, step: tuple[int, int]) -> Pixels:
    """Pixels and labels of ``source`` in a region put ``step`` away in ``onto``; what leaves the slice is lost."""
    rows, columns = np.nonzero(region)
    to_rows, to_columns = rows + step[0], columns + step[1]
    height, width = region.shape
    inside = (to_rows >= 0) & (to_rows < height) & (to_columns >= 0) & (to_columns < width)
    image, mask = onto.image.copy(), onto.mask
    image[:, to_rows[inside], to_columns[inside]] = source.image[:, rows[inside], columns[inside]]
    if mask is not None and source.mask is not None:
        mask = mask.copy()
        mask[to_rows[inside], to_columns[inside]] = source.mask[rows[inside], columns[inside]]
    return replace(onto, image=image, mask=mask)
