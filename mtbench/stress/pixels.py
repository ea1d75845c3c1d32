"""One slice as operators read and return it, and steps that several operators share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pixels:
    """The content of a slice.

    Attributes:
        image: float32, C x H x W; in [0, 1] before an operator, possibly beyond after it.
        mask: uint8, H x W, 0 is background; ``None`` without masks.
        spacing: mm between rows and between columns; 1 and 1 if unknown.
        displacement: mean distance that tissue was moved by, in the unit of ``spacing``.
    """

    image: Floats
    mask: Labels | None = None
    spacing: tuple[float, float] = (1.0, 1.0)
    displacement: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])

    @property
    def body(self) -> NDArray[np.bool_]:
        """H x W: labelled tissue; without any label, pixels brighter than the mean."""
        if self.mask is not None and self.mask.any():
            return self.mask > 0
        bright = self.image.mean(0)
        body: NDArray[np.bool_] = bright > bright.mean()
        return body if body.any() else np.ones_like(body)


def warped(pixels: Pixels, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Pixels:
    """The slice whose value at x is the old one at x + u(x): image linearly, mask by the nearest pixel.

    Args:
        pixels: the slice.
        rows, columns: u in pixels, H x W. Pixels that would come from outside repeat the border.
    """
    grid = np.indices(pixels.size, dtype=np.float64)
    places = grid + np.stack([rows, columns])
    image = np.stack([ndimage.map_coordinates(channel, places, order=1, mode="nearest") for channel in pixels.image])
    mask = pixels.mask
    if mask is not None:
        mask = ndimage.map_coordinates(mask, places, order=0, mode="nearest")
    distance = np.hypot(rows * pixels.spacing[0], columns * pixels.spacing[1])
    moved = float(distance[pixels.body].mean())
    return replace(pixels, image=image.astype(np.float32), mask=mask, displacement=moved)


def erased(pixels: Pixels, region: NDArray[np.bool_], structure: NDArray[np.bool_]) -> Pixels:
    """The slice with a region of a structure replaced by what surrounds the structure: the nearest pixels, smoothed."""
    if not region.any() or structure.all():
        return pixels
    rows, columns = ndimage.distance_transform_edt(structure, return_distances=False, return_indices=True)
    image = pixels.image[:, rows, columns]
    smooth = ndimage.gaussian_filter(image, (0, 1.5, 1.5), mode="nearest")
    image = np.where(region, smooth, pixels.image).astype(np.float32)
    mask = None if pixels.mask is None else np.where(region, pixels.mask[rows, columns], pixels.mask)
    return replace(pixels, image=image, mask=mask)
