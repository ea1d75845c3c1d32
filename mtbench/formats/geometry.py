"""The origin of a stored slice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.framing import Frame
from mtbench.formats.orientation import PLANES, Plane, ras_affine
from mtbench.formats.volume import Volume


@dataclass(frozen=True)
class Geometry:
    """All data needed to put one stored slice back into its file; kept as JSON text in ``Slice.geometry``.

    Attributes:
        axes, shape, affine: of the file: where its axes point, its shape, 4 x 4 index to RAS millimetres.
        plane, index: the plane of the slice, and its index among the upright slices of that plane.
        frame: how it was resized, cropped and padded.
    """

    axes: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    plane: Plane
    index: int
    frame: Frame

    @classmethod
    def of(cls, volume: Volume, plane: Plane, index: int, frame: Frame) -> Geometry:
        """The geometry of slice ``index`` of an oriented volume.

        Raises:
            DataError: the file has no orientation.
        """
        if volume.file_affine is None:
            raise DataError("this file has no orientation", where=volume.file)
        rows = tuple(tuple(float(v) for v in row) for row in volume.file_affine)
        first, second, third = volume.file_shape
        return cls(volume.axes, (first, second, third), rows, plane, index, frame)

    def place(self) -> NDArray[np.float64]:
        """The position of the slice in its file: 3 x 3 in RAS millimetres.

        The columns are the step from row to row, the step from column to column, and the first pixel.
        """
        affine = ras_affine(np.array(self.affine), self.axes, self.shape)
        across, row, column = PLANES[self.plane]
        height, width = self.frame.native
        # The rows and columns of an upright slice run against their axes.
        corner = affine[:3, 3] + self.index * affine[:3, across]
        corner = corner + (height - 1) * affine[:3, row] + (width - 1) * affine[:3, column]
        return np.stack([-affine[:3, row], -affine[:3, column], corner], axis=1)

    def to_json(self) -> str:
        """As text for ``Slice.geometry``."""
        frame = [self.frame.native, self.frame.box, self.frame.scaled, self.frame.size]
        return json.dumps(
            {
                "axes": self.axes,
                "shape": self.shape,
                "affine": self.affine,
                "plane": self.plane,
                "index": self.index,
                "frame": frame,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Geometry:
        """From the text of ``Slice.geometry``.

        Raises:
            DataError: the text is not a geometry (plain images have none).
        """
        try:
            record = json.loads(text)
            native, (top, bottom, left, right), scaled, size = record["frame"]
            frame = Frame(_two(native), (int(top), int(bottom), int(left), int(right)), _two(scaled), _two(size))
            first, second, third = (int(n) for n in record["shape"])
            affine = tuple(tuple(float(v) for v in row) for row in record["affine"])
            plane: Plane = record["plane"]
            PLANES[plane]
            return cls(str(record["axes"]), (first, second, third), affine, plane, int(record["index"]), frame)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                "this slice has no position in a volume",
                expected="the geometry of a slice of a NIfTI, NRRD, MHA or DICOM volume",
            ) from error


def _two(pair: Any) -> tuple[int, int]:
    first, second = pair
    return int(first), int(second)
