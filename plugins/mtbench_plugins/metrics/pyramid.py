"""Laplacian pyramids of grey images, in the two variants that sliced Wasserstein distances use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]


def laplacian(images: Images, levels: int, variant: str) -> list[Images]:
    """The band-pass images of each level, finest first; the last one is the low-pass rest.

    Both variants blur with the binomial kernel (1, 4, 6, 4, 1)/16 along each axis and keep every second
    pixel. ``karras`` mirrors at the borders and enlarges by inserting zeros; ``koshian2`` pads with zeros and enlarges
    by repeating pixels. If a side is odd, the enlarged level is one pixel too long and is cropped.

    Args:
        images: float32, N x H x W.
        levels: how many, at least 1.
        variant: "karras" or "koshian2".
    """
    up_axis: Callable[[Images, int], Images] = _up_karras if variant == "karras" else _up_koshian2
    mode: Any = "reflect" if variant == "karras" else "constant"
    bands = []
    current = images
    for _ in range(levels - 1):
        smaller = _down(_down(current, 2, mode), 1, mode)
        larger = up_axis(up_axis(smaller, 1), 2)
        bands.append(current - larger[:, : current.shape[1], : current.shape[2]])
        current = smaller
    bands.append(current)
    return bands


def _take(images: Images, axis: int, start: int, stop: int | None, step: int = 1) -> Images:
    index: list[slice] = [slice(None)] * images.ndim
    index[axis] = slice(start, stop, step)
    return images[tuple(index)]


def _padded(images: Images, axis: int, before: int, after: int, mode: Any) -> Images:
    width = [(0, 0)] * images.ndim
    width[axis] = (before, after)
    return np.pad(images, width, mode=mode)


def _down(images: Images, axis: int, mode: Any) -> Images:
    """Blur along an axis and keep positions 0, 2, 4, ...; with slices instead of a general convolution."""
    size = images.shape[axis]
    padded = _padded(images, axis, 2, 2, mode)
    first, second, middle, fourth, last = (_take(padded, axis, k, k + size, 2) for k in range(5))
    blurred: Images = (
        (first + last) * np.float32(1 / 16) + (second + fourth) * np.float32(4 / 16) + middle * np.float32(6 / 16)
    )
    return blurred


def _interleaved(even: Images, odd: Images, axis: int) -> Images:
    shape = list(even.shape)
    shape[axis] *= 2
    out = np.empty(shape, np.float32)
    _take(out, axis, 0, None, 2)[...] = even
    _take(out, axis, 1, None, 2)[...] = odd
    return out


def _up_karras(images: Images, axis: int) -> Images:
    """Zeros between the pixels, mirror borders, twice the kernel: (1, 6, 1)/8 on pixels, (1, 1)/2 between."""
    size = images.shape[axis]
    # Mirrored about the first pixel and about the last *inserted zero*: so x[-1] = x[1] and x[n] = x[n-1].
    before = _take(images, axis, 1, 2) if size > 1 else images
    after = _take(images, axis, size - 1, size)
    padded = np.concatenate([before, images, after], axis=axis)
    left, right = _take(padded, axis, 0, size), _take(padded, axis, 2, size + 2)
    on_pixels = (left + right) * np.float32(1 / 8) + images * np.float32(6 / 8)
    return _interleaved(on_pixels, (images + right) * np.float32(1 / 2), axis)


def _up_koshian2(images: Images, axis: int) -> Images:
    """Each pixel twice, zeros beyond the borders: (5, 10, 1)/16 and (1, 10, 5)/16."""
    size = images.shape[axis]
    padded = _padded(images, axis, 1, 1, "constant")
    left, right = _take(padded, axis, 0, size), _take(padded, axis, 2, size + 2)
    middle = images * np.float32(10 / 16)
    return _interleaved(
        left * np.float32(5 / 16) + middle + right * np.float32(1 / 16),
        left * np.float32(1 / 16) + middle + right * np.float32(5 / 16),
        axis,
    )
