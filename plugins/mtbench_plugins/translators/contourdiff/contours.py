"""The condition of ContourDiff: Canny contours of 8-bit images, as OpenCV computes them, and the artefact filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.uint8]
_TAN_22 = 13573
"""tan(22.5 degrees) in units of 2**-15, OpenCV's border between a horizontal and a diagonal gradient."""


@dataclass(frozen=True)
class Contours:
    """How contours are found; the defaults are those of the original's ``preprocess.py``.

    Attributes:
        low, high: hysteresis thresholds on |dx| + |dy| of the Sobel gradient of the smoothed 8-bit image.
        remove_artifact: whether pixels outside of large bright objects are set to black first.
        min_size: pixels of the smallest object that is kept.
        area_threshold: pixels of the smallest hole that stays open.
    """

    low: float = 80.0
    high: float = 150.0
    remove_artifact: bool = False
    min_size: int = 8000
    area_threshold: int = 3000

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Contours:
        """From the translator's parameters."""
        return cls(
            params["low_threshold"],
            params["high_threshold"],
            params["remove_artifact"],
            params["min_size"],
            params["area_threshold"],
        )

    def find(self, image: NDArray[np.floating[Any]]) -> Grey:
        """The contour map, H x W uint8 of 0 and 1, of a float image H x W in [0, 1]; it is rounded to 8 bits first."""
        grey = (np.clip(image, 0.0, 1.0) * 255.0).round().astype(np.uint8)
        if self.remove_artifact:
            grey = without_artefacts(grey, self.min_size, self.area_threshold)
        return canny(blur(grey), self.low, self.high).astype(np.uint8)

    def find_all(self, images: Iterable[NDArray[np.floating[Any]]]) -> Grey:
        """The contour maps of several images, N x H x W."""
        return np.stack([self.find(image) for image in images])


def blur(grey: Grey) -> Grey:
    """``cv2.GaussianBlur(grey, (3, 3), 0)``: weights 1, 2, 1 both ways, mirrored at the border, rounded once."""
    padded = np.pad(grey.astype(np.int32), 1, mode="reflect")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    total = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    blurred: Grey = ((total + 8) >> 4).astype(np.uint8)
    return blurred


def canny(grey: Grey, low: float, high: float) -> NDArray[np.bool_]:
    """``cv2.Canny(grey, low, high) > 0``: 3 x 3 Sobel, |dx| + |dy|, integer directions, 8-connected hysteresis.

    Canny: A computational approach to edge detection. IEEE PAMI 1986.

    Args:
        grey: H x W.
        low, high: thresholds; a pixel must exceed them.
    """
    low, high = np.floor(min(low, high)), np.floor(max(low, high))
    dx, dy = _sobel(grey)
    magnitude = np.abs(dx) + np.abs(dy)
    thin = (magnitude > low) & _ridge(magnitude, dx, dy)
    strong = thin & (magnitude > high)
    labels, count = ndimage.label(thin, structure=np.ones((3, 3)))
    keep = np.zeros(count + 1, bool)
    keep[labels[strong]] = True
    return np.asarray(keep[labels])


def _sobel(grey: Grey) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    p = np.pad(grey.astype(np.int64), 1, mode="edge")
    across, down = p[:-2] + 2 * p[1:-1] + p[2:], p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    return across[:, 2:] - across[:, :-2], down[2:] - down[:-2]


def _ridge(magnitude: NDArray[np.int64], dx: NDArray[np.int64], dy: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a pixel is the largest across its edge.

    One side must be smaller and the other not larger; on diagonals both must be smaller.
    """
    p = np.pad(magnitude, 1)
    height, width = magnitude.shape

    def shifted(rows: int, columns: int) -> NDArray[np.int64]:
        return p[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    low = np.abs(dx) * _TAN_22
    y = np.abs(dy) << 15
    horizontal = y < low
    vertical = y > low + (np.abs(dx) << 16)
    falling = (dx ^ dy) < 0
    m = magnitude
    return np.select(
        [horizontal, vertical, falling],
        [
            (m > shifted(0, -1)) & (m >= shifted(0, 1)),
            (m > shifted(-1, 0)) & (m >= shifted(1, 0)),
            (m > shifted(-1, 1)) & (m > shifted(1, -1)),
        ],
        (m > shifted(-1, -1)) & (m > shifted(1, 1)),
    )


def without_artefacts(grey: Grey, min_size: int, area_threshold: int) -> Grey:
    """The image with everything black but large objects above Otsu's threshold, eroded by one pixel, holes filled.

    Args:
        grey: H x W.
        min_size: pixels of the smallest object that is kept.
        area_threshold: pixels of the smallest hole that stays open.
    """
    objects = ndimage.binary_erosion(grey > otsu(grey), border_value=1)
    objects = _large(objects, min_size)
    return grey * ~_large(~objects, area_threshold)


def otsu(grey: Grey) -> int:
    """The grey level that separates the two classes with the largest variance between them (Otsu 1979).

    The highest level of the lower class; of an image with one level, that level.
    """
    counts = np.bincount(grey.ravel(), minlength=256)
    levels = np.flatnonzero(counts)
    first, last = int(levels[0]), int(levels[-1])
    if first == last:
        return first
    # In scikit-image's single precision and with its weights 1, 1, 2, 3, ...: two levels are often equally good but for
    # rounding.
    p = (counts[first : last + 1] / grey.size).astype(np.float32)
    share = np.cumsum(p, dtype=np.float32)
    total = np.cumsum(p * np.arange(len(p), dtype=np.float32).clip(1), dtype=np.float32)
    below, above = share[:-1], share[-1] - share[:-1]
    spread = total[:-1] ** 2 / below + (total[-1] - total[:-1]) ** 2 / above
    return first + int(np.argmax(spread))


def _large(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """The 4-connected objects of at least ``size`` pixels."""
    labels, count = ndimage.label(mask)
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= size
    keep[0] = False
    return np.asarray(keep[labels])
