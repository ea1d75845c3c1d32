"""Where a stored slice came from, and the way back into its volume."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Slice, decode
from mtbench.errors import DataError
from mtbench.formats.framing import Frame
from mtbench.formats.orientation import PLANES, Plane, ras_affine, to_ras, upright
from mtbench.formats.volume import Volume


@dataclass(frozen=True)
class Geometry:
    """Everything needed to put one stored slice back; kept as JSON text in ``Slice.geometry``.

    Attributes:
        axes, shape, affine: of the file: where its axes point, its shape, 4 x 4 index to RAS millimetres.
        plane, index: the plane the slice was cut in, and its place among the upright slices of that plane.
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
            DataError: the file does not say how it lies in the patient.
        """
        if volume.file_affine is None:
            raise DataError("this file does not say how it lies in the patient", where=volume.file)
        rows = tuple(tuple(float(v) for v in row) for row in volume.file_affine)
        first, second, third = volume.file_shape
        return cls(volume.axes, (first, second, third), rows, plane, index, frame)

    def place(self) -> NDArray[np.float64]:
        """Where the slice lies, as it is in its file: 3 x 3 in RAS millimetres.

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
                "this slice does not say how it lies in a volume",
                expected="the geometry that a slice of a NIfTI, NRRD, MHA or DICOM volume carries",
            ) from error


def put_back(items: Iterable[tuple[NDArray[Any], Slice]], *, masks: bool = False) -> Volume:
    """Stored slices of one volume, back in the geometry and units of its file.

    Exact up to the stored depth where slices were not resized and values lay within the window; what the
    window cut off stays cut off. Missing slices and borders hold the window's lower end (masks: 0).

    Args:
        items: stored images (uint8, uint16 or float32, H x W) with their records; label maps with ``masks``.
        masks: the arrays are label maps.

    Returns:
        An oriented volume, float32 in the file's unit (uint8 for masks); ``write_nifti`` writes it in the
        file's own axis order.

    Raises:
        DataError: no slices, slices of several volumes, the same slice twice, a slice without geometry or
            window, or an image of another size than the geometry says.
    """
    full: NDArray[Any] | None = None
    slice_ids: dict[int, str] = {}
    first: Geometry | None = None
    record: Slice | None = None
    for stored, record in items:
        geometry = Geometry.from_json(record.geometry)
        if first is None:
            first = geometry
        _check(geometry, first, slice_ids, stored.shape, record.slice_id)
        slice_ids[geometry.index] = record.slice_id
        low, high = (0.0, 0.0) if masks else _window(record)
        if full is None:
            full = np.full(geometry.shape, 0 if masks else low, np.uint8 if masks else np.float32)
        place = upright(to_ras(full, geometry.axes), geometry.plane)
        if masks:
            place[geometry.index] = geometry.frame.undo_mask(stored)
        else:
            place[geometry.index] = geometry.frame.undo_image(decode(stored), 0.0) * (high - low) + low
    if full is None or first is None or record is None:
        raise DataError("there are no slices to put back")
    affine = np.array(first.affine)
    return Volume.oriented(full, affine, first.axes, record.file, measure_unit="" if masks else record.measure_unit)


def _check(geometry: Geometry, first: Geometry, slice_ids: dict[int, str], shape: tuple[int, ...], where: str) -> None:
    if replace(geometry, index=first.index, frame=first.frame) != first:
        raise DataError("these slices belong to different volumes", where=where)
    if geometry.index in slice_ids:
        raise DataError(f"this is the same slice as '{slice_ids[geometry.index]}'", where=where)
    if shape != geometry.frame.size:
        raise DataError(f"the image is {_size(shape)}", where=where, expected=_size(geometry.frame.size))


def _two(pair: Any) -> tuple[int, int]:
    first, second = pair
    return int(first), int(second)


def _window(record: Slice) -> tuple[float, float]:
    if record.window is None:
        raise DataError("this slice does not say which values its grey levels stand for", where=record.slice_id)
    return record.window


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape) + " pixels"
