"""How an image or volume becomes slices in [0, 1], and how translated slices become an image or volume again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.framing import Frame
from mtbench.formats.orientation import Plane
from mtbench.formats.placing import Window, native, prepared
from mtbench.formats.volume import Volume


@dataclass(frozen=True)
class Cut:
    """The conversion of one image or volume to slices, and back.

    Attributes:
        plane: how a volume is cut; ``None`` for a plain image, or a stack without orientation.
        frame: how each slice is cut out, resized, cropped or padded.
        windows: the values that become 0 and 1: one pair for all slices, or one for each.
    """

    plane: Plane | None
    frame: Frame
    windows: tuple[Window, ...]

    def images(self, volume: Volume) -> NDArray[np.float32]:
        """The slices of ``volume``, framed, N x H x W in [0, 1].

        Raises:
            DataError: the volume's number or size of slices does not fit this cut.
        """
        stack = self._slices(volume)
        result = np.empty((len(stack), *self.frame.size), np.float32)
        for index, (image, window) in enumerate(zip(stack, self._each(len(stack), volume), strict=True)):
            result[index] = prepared(image, self.frame, window)
        return result

    def masks(self, volume: Volume) -> NDArray[np.uint8]:
        """The slices of a label map on the grid of the image, framed, N x H x W.

        Raises:
            DataError: labels outside 0..255, or as :meth:`images`.
        """
        if volume.array.min() < 0 or volume.array.max() > 255:
            raise DataError("a mask holds labels outside 0..255", where=volume.file)
        return np.stack([self.frame.mask(mask) for mask in self._slices(volume)])

    def put_back(self, images: NDArray[np.float32], volume: Volume, window: Window | None = None) -> Volume:
        """Slices in [0, 1], N x H x W, in place of those of ``volume``: float32 in the file's unit.

        Exact up to rounding if slices were not resized; cropped parts have the window's lower end.

        Args:
            images: as many as ``volume`` has slices.
            volume: their original.
            window: the values of 0 and 1; by default those of each slice.
        """
        result = replace(volume, array=np.empty(volume.array.shape, np.float32))
        places = self._slices(result)
        windows = (window,) * len(places) if window else self._each(len(places), volume)
        for place, image, own in zip(places, images, windows, strict=True):
            place[...] = native(image, self.frame, own)
        return result

    def _slices(self, volume: Volume) -> NDArray[np.generic]:
        stack = volume.slices(self.plane)
        if stack.shape[1:] != self.frame.native:
            raise DataError(
                f"its slices are {stack.shape[1]} x {stack.shape[2]}",
                where=volume.file,
                expected=f"{self.frame.native[0]} x {self.frame.native[1]}",
            )
        return stack

    def _each(self, count: int, volume: Volume) -> tuple[Window, ...]:
        windows = self.windows * count if len(self.windows) == 1 else self.windows
        if len(windows) != count:
            raise DataError(f"{len(windows)} windows for {count} slices", where=volume.file, expected="one for each")
        return windows
