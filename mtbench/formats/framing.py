"""Bringing slices to one size, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """How a slice is resized, then cropped or padded around its centre.

    Images are resized linearly, the triangle filter widened when they shrink (antialias); label maps
    take the nearest pixel. Padding is 0.

    Attributes:
        native: height and width of the slice as it is in the file.
        scaled: after resizing.
        size: after cropping and padding.
    """

    native: tuple[int, int]
    scaled: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def none(cls, native: tuple[int, int]) -> Frame:
        """As it is."""
        return cls(native, native, native)

    @classmethod
    def plain(cls, native: tuple[int, int], size: int) -> Frame:
        """To ``size`` x ``size`` whatever the proportions, as the paper does."""
        return cls(native, (size, size), (size, size))

    @classmethod
    def by_spacing(cls, native: tuple[int, int], spacing: tuple[float, float], mm: float, size: int) -> Frame:
        """To pixels of ``mm`` millimetres (to the nearest whole pixel), then crop or pad to ``size``."""
        height, width = (max(1, round(n * s / mm)) for n, s in zip(native, spacing, strict=True))
        return cls(native, (height, width), (size, size))

    def spacing(self, spacing: tuple[float, float] | None) -> tuple[float, float] | None:
        """Millimetres per pixel of the framed slice, given those of the native one."""
        if spacing is None:
            return None
        row, column = (s * n / m for s, n, m in zip(spacing, self.native, self.scaled, strict=True))
        return row, column

    def image(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """``image`` (native size, any real dtype) framed, float32."""
        return self._shift(_resize(np.asarray(image, np.float32), self.scaled, nearest=False), self.size)

    def mask(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """``mask`` (native size, labels 0..255) framed, uint8."""
        return self._shift(_resize(np.asarray(mask, np.uint8), self.scaled, nearest=True), self.size)

    def undo_image(self, image: NDArray[Any], fill: float) -> NDArray[np.float32]:
        """A framed image at native size, float32; what was cropped away is ``fill``."""
        inner = self._unshift(np.asarray(image, np.float32), fill)
        return _resize(inner, self.native, nearest=False)

    def undo_mask(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """A framed label map at native size, uint8; what was cropped away is 0."""
        return _resize(self._unshift(np.asarray(mask, np.uint8), 0), self.native, nearest=True)

    def _shift(self, inner: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        if inner.shape == size:
            return inner
        result = np.zeros(size, inner.dtype)
        here, there = self._windows()
        result[there] = inner[here]
        return result

    def _unshift(self, outer: NDArray[Any], fill: float) -> NDArray[Any]:
        if self.scaled == self.size:
            return outer
        result = np.full(self.scaled, fill, outer.dtype)
        here, there = self._windows()
        result[here] = outer[there]
        return result

    def _windows(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part that both sizes share, in the scaled and in the final image."""
        here, there = [], []
        for scaled, size in zip(self.scaled, self.size, strict=True):
            both = min(scaled, size)
            here.append(slice((scaled - both) // 2, (scaled - both) // 2 + both))
            there.append(slice((size - both) // 2, (size - both) // 2 + both))
        return tuple(here), tuple(there)


def _resize(array: NDArray[Any], size: tuple[int, int], *, nearest: bool) -> NDArray[Any]:
    if array.shape == size:
        return np.ascontiguousarray(array)
    from PIL import Image

    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    image = Image.fromarray(np.ascontiguousarray(array))
    return np.asarray(image.resize((size[1], size[0]), how)).copy()
