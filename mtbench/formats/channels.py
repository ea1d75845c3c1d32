"""Grey values of images with channels, and of images with fewer than eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError

_IF_SLICES = "Convert it to greyscale; if that axis holds slices, make it the first"


def grey(array: NDArray[Any], where: str, remedy: str = "Convert it to greyscale") -> NDArray[Any]:
    """One channel of ... x H x W x C.

    Raises:
        DataError: channels that differ, or transparency that varies.
    """
    if array.ndim == 2:
        return array
    channels = array.shape[-1]
    if channels in (2, 4):
        if array[..., -1].min() != array[..., -1].max():
            raise DataError(
                "parts of this image are transparent", where=where, expected="an opaque image", remedy=remedy
            )
        array = array[..., :-1]
    if not (array == array[..., :1]).all():
        raise DataError(
            f"this image is in colour ({channels} channels that differ)",
            where=where,
            expected="one grey channel, or channels that are all equal",
            remedy=remedy,
        )
    return array[..., 0]


def grey_of_array(array: NDArray[Any], where: str) -> NDArray[Any]:
    """An image or a stack from an array that does not say which of its axes are channels.

    A last axis of 1 or 3, or of 2 or 4 with the same opacity everywhere, is channels: H x W x C, N x H x W x C. So is
    a second axis of 1, 3 or 4 of four (N x C x H x W), and a first one of three whose images are equal (C x H x W).

    Raises:
        DataError: channels that differ, or transparency that varies.
    """
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim in (3, 4) and min(array.shape[-3:-1]) > 4 and _has_channels(array):
        return grey(array, where, _IF_SLICES)
    if array.ndim == 4 and array.shape[1] in (1, 3, 4) and min(array.shape[2:]) > 4:
        return grey(np.moveaxis(array, 1, -1), where, _IF_SLICES)
    if array.ndim == 3 and array.shape[0] in (3, 4) and min(array.shape[1:]) > 4:
        first, others, last = array[0], array[1:3], array[3:]
        if (others == first).all() and all(image.min() == image.max() for image in last):
            return np.asarray(first)
    return array


def _has_channels(array: NDArray[Any]) -> bool:
    """Whether the last axis holds channels: 1, 3, or 1 and 3 with constant opacity."""
    count = array.shape[-1]
    return count in (1, 3) or (count in (2, 4) and bool(array[..., -1].min() == array[..., -1].max()))


def full_range(array: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Grey values of 1 to 7 bits, or booleans (1 bit), on the scale of 8 bits: the largest becomes 255."""
    scaled: NDArray[np.uint8] = np.rint(array.astype(np.float32) * (255 / (2**bits - 1))).astype(np.uint8)
    return scaled
