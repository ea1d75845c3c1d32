"""Bringing slices to one size, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Crop = tuple[float, float, float, float]
WHOLE: Crop = (0.0, 1.0, 0.0, 1.0)


@dataclass(frozen=True)
class Frame:
    """How a slice is cut out, resized, then cropped or padded around its centre.

    Images are resized linearly, with a widened triangle filter when they shrink (antialiasing); label maps take the
    nearest pixel. Padding is 0.

    Attributes:
        native: height and width of the slice in the file.
        box: the part of it that is used: first row, row after the last, first column, column after the last.
        scaled: after resizing.
        size: after cropping and padding.
    """

    native: tuple[int, int]
    box: tuple[int, int, int, int]
    scaled: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def none(cls, native: tuple[int, int], crop: Crop = WHOLE) -> Frame:
        """Not resized. ``crop`` here and below: top, bottom, left and right as fractions of the slice."""
        box = _box(native, crop)
        return cls(native, box, _size(box), _size(box))

    @classmethod
    def plain(cls, native: tuple[int, int], size: int, crop: Crop = WHOLE) -> Frame:
        """To ``size`` x ``size`` for any proportions, as in the paper."""
        return cls(native, _box(native, crop), (size, size), (size, size))

    @classmethod
    def by_spacing(
        cls, native: tuple[int, int], spacing: tuple[float, float], mm: float, size: int, crop: Crop = WHOLE
    ) -> Frame:
        """To pixels of ``mm`` millimetres (to the nearest whole pixel), then crop or pad to ``size``."""
        box = _box(native, crop)
        height, width = (max(1, round(n * s / mm)) for n, s in zip(_size(box), spacing, strict=True))
        return cls(native, box, (height, width), (size, size))

    def spacing(self, spacing: tuple[float, float] | None) -> tuple[float, float] | None:
        """Millimetres per pixel of the framed slice, from those of the native one."""
        if spacing is None:
            return None
        row, column = (s * n / m for s, n, m in zip(spacing, _size(self.box), self.scaled, strict=True))
        return row, column

    def image(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """``image`` (native size, any real dtype) framed, float32."""
        return self._shift(_resize(np.asarray(image, np.float32)[self._region], self.scaled, nearest=False))

    def mask(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """``mask`` (native size, labels 0..255) framed, uint8."""
        return self._shift(_resize(np.asarray(mask, np.uint8)[self._region], self.scaled, nearest=True))

    def undo_image(self, image: NDArray[Any], fill: float) -> NDArray[np.float32]:
        """A framed image at native size, float32; cropped parts are ``fill``."""
        result = np.full(self.native, fill, np.float32)
        inner = self._unshift(np.asarray(image, np.float32), fill)
        result[self._region] = _resize(inner, _size(self.box), nearest=False)
        return result

    def undo_mask(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """A framed label map at native size, uint8; cropped parts are 0."""
        result = np.zeros(self.native, np.uint8)
        result[self._region] = _resize(self._unshift(np.asarray(mask, np.uint8), 0), _size(self.box), nearest=True)
        return result

    @property
    def _region(self) -> tuple[slice, slice]:
        top, bottom, left, right = self.box
        return slice(top, bottom), slice(left, right)

    def _shift(self, inner: NDArray[Any]) -> NDArray[Any]:
        if inner.shape == self.size:
            return inner
        result = np.zeros(self.size, inner.dtype)
        inner_part, outer_part = self._windows()
        result[outer_part] = inner[inner_part]
        return result

    def _unshift(self, outer: NDArray[Any], fill: float) -> NDArray[Any]:
        if self.scaled == self.size:
            return outer
        result = np.full(self.scaled, fill, outer.dtype)
        inner_part, outer_part = self._windows()
        result[inner_part] = outer[outer_part]
        return result

    def _windows(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part that both sizes share, in the scaled and in the final image."""
        inner_part, outer_part = [], []
        for scaled, size in zip(self.scaled, self.size, strict=True):
            shared_size = min(scaled, size)
            inner_part.append(slice((scaled - shared_size) // 2, (scaled - shared_size) // 2 + shared_size))
            outer_part.append(slice((size - shared_size) // 2, (size - shared_size) // 2 + shared_size))
        return tuple(inner_part), tuple(outer_part)


def _box(native: tuple[int, int], crop: Crop) -> tuple[int, int, int, int]:
    (height, width), (top, bottom, left, right) = native, crop
    first, leftmost = min(round(top * height), height - 1), min(round(left * width), width - 1)
    return first, max(round(bottom * height), first + 1), leftmost, max(round(right * width), leftmost + 1)


def _size(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[1] - box[0], box[3] - box[2]


def _resize(array: NDArray[Any], size: tuple[int, int], *, nearest: bool) -> NDArray[Any]:
    if array.shape == size:
        return np.ascontiguousarray(array)
    from PIL import Image

    method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    image = Image.fromarray(np.ascontiguousarray(array))
    return np.asarray(image.resize((size[1], size[0]), method)).copy()
