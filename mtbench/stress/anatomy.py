"""Damage to the anatomy as a whole: image and mask move together.

Strengths in mm are in pixels if the spacing is unknown. As in ``appearance``, 0 changes nothing and the generator gives
the same numbers at every strength. ``shift``, ``deform`` and ``mirror`` stand for translation, elastic deformation and
the replacement artefact of Dohmen et al., Scientific Reports 2025.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtbench.stress.appearance import Rng, smooth_noise
from mtbench.stress.pixels import Pixels, warped


def shift(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Everything moved by so many mm, in a random direction; the border repeats."""
    if not strength:
        return pixels
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = strength * np.sin(angle) / pixels.spacing[0], strength * np.cos(angle) / pixels.spacing[1]
    return warped(pixels, np.full(pixels.size, rows), np.full(pixels.size, columns))


def deform(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """A smooth random deformation of the whole slice; the strength is the largest displacement along an axis in mm."""
    if not strength:
        return pixels
    rows, columns = (strength / mm * smooth_noise(pixels.size, min(pixels.size) / 6, rng) for mm in pixels.spacing)
    return warped(pixels, rows, columns)


def drag(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Tissue around one random place of the body dragged by so many mm; the rest of the slice stays."""
    if not strength:
        return pixels
    centre, angle = place_in(pixels.body, rng), rng.uniform(0, 2 * np.pi)
    # A window three displacements wide folds nothing.
    reach = max(min(pixels.size) / 12, 3 * strength / min(pixels.spacing))
    window = np.exp(-((distance_from(centre, pixels.size) / reach) ** 2))
    parts = np.sin(angle) / pixels.spacing[0], np.cos(angle) / pixels.spacing[1]
    return warped(pixels, strength * parts[0] * window, strength * parts[1] * window)


def flip(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Left and right exchanged, in so large a share of the slices."""
    if rng.uniform() >= strength:
        return pixels
    columns = np.indices(pixels.size)[1]
    width = pixels.size[1]
    moved = np.abs(width - 1 - 2 * columns)[pixels.body].mean() * pixels.spacing[1]
    mask = None if pixels.mask is None else pixels.mask[:, ::-1].copy()
    return replace(pixels, image=pixels.image[..., ::-1].copy(), mask=mask, displacement=float(moved))


def mirror(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """The lower part of the slice, so large a share of the lower half, replaced by the reflected upper part."""
    rows = round(pixels.size[0] // 2 * strength)
    if not rows:
        return pixels
    image, mask = pixels.image.copy(), pixels.mask
    image[:, -rows:] = image[:, :rows][:, ::-1].copy()
    if mask is not None:
        mask = mask.copy()
        mask[-rows:] = mask[:rows][::-1].copy()
    return replace(pixels, image=image, mask=mask)


def lesion(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """A bright or dark blob of so many mm radius invented in the body; it belongs to no label."""
    if not strength:
        return pixels
    centre, sign = place_in(pixels.body, rng), rng.choice([-1.0, 1.0])
    distance = distance_from(centre, pixels.size, pixels.spacing)
    inside = distance <= strength
    level = float(pixels.image[:, inside].mean())
    # Away from the nearer end of the range, so that it shows.
    sign = sign if 0.35 <= level <= 0.65 else (1.0 if level < 0.5 else -1.0)
    edge = np.clip((strength - distance) / min(pixels.spacing) + 0.5, 0, 1)
    image = pixels.image + 0.35 * sign * edge
    mask = None if pixels.mask is None else np.where(inside, 0, pixels.mask).astype(np.uint8)
    return replace(pixels, image=image.astype(np.float32), mask=mask)


def place_in(region: NDArray[np.bool_], rng: Rng) -> tuple[int, int]:
    """A random pixel of a region, well inside if it is thick."""
    depth = ndimage.distance_transform_edt(region)
    rows, columns = np.nonzero(depth >= depth.max() / 2)
    pick = int(rng.integers(len(rows)))
    return int(rows[pick]), int(columns[pick])


def distance_from(
    centre: tuple[float, float], size: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float64]:
    """The distance of every pixel, H x W, from a place in pixels, in the unit of ``spacing``."""
    rows, columns = np.indices(size, dtype=np.float64)
    return np.asarray(np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1]), np.float64)
