"""Conversion between a file's own values and prepared slices: what ``prepare`` does to a slice, and its inverse.

All such conversions happen here: data sets, ``Cut`` (``mtbench translate``), and translators that read translated
volumes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Slice, decode
from mtbench.errors import DataError
from mtbench.formats.framing import Frame
from mtbench.formats.geometry import Geometry
from mtbench.formats.orientation import to_ras, upright
from mtbench.formats.volume import Volume

Window = tuple[float, float]
_LARGEST = 1e38
_SMALLEST = 1e-30
"""Replaces a window without width, so that a constant image is black."""
NEAR = 0.05
"""Tolerance in millimetres within which two headers agree, as for a mask and its image."""


def is_window(low: float, high: float) -> bool:
    """Whether two values can be black and white: finite, in this order, and with a difference that float32 can hold."""
    return -_LARGEST < low < high < _LARGEST


def scaled(values: NDArray[Any], window: Window) -> NDArray[np.float32]:
    """Values as float32 in [0, 1], of the same shape: the window's ends become 0 and 1, values beyond are clipped."""
    low, high = window
    result: NDArray[np.float32] = np.subtract(values, np.float32(low), dtype=np.float32)
    result /= np.float32(max(high - low, _SMALLEST))
    np.clip(result, 0, 1, out=result)
    return result


def prepared(image: NDArray[Any], frame: Frame, window: Window) -> NDArray[np.float32]:
    """A native slice (H x W, any real dtype, in the file's unit) windowed and framed: float32 in [0, 1]."""
    return frame.image(scaled(image, window))


def native(image: NDArray[np.float32], frame: Frame, window: Window) -> NDArray[np.float32]:
    """The inverse of :func:`prepared`, in the file's unit; cropped parts have the window's lower end."""
    low, high = window
    return frame.undo_image(image, 0.0) * np.float32(high - low) + np.float32(low)


def lies_at(volume: Volume, geometry: Geometry) -> int | None:
    """The slice of ``volume``, in the plane of ``geometry``, at the position of ``geometry``; ``None`` if there is
    none.

    The file's axis order and the number of its slices do not matter.

    Raises:
        DataError: the volume has no orientation, or its slices have another size, spacing, direction or position in
            their plane.
    """
    if not volume.axes:
        raise DataError(
            "it has no orientation",
            where=volume.file,
            expected="NIfTI, NRRD, MHA or a DICOM series with the geometry of the original",
        )
    count, *size = volume.slices(geometry.plane).shape
    if tuple(size) != geometry.frame.native:
        height, width = geometry.frame.native
        raise DataError(
            f"its {geometry.plane} slices are {size[0]} x {size[1]}",
            where=volume.file,
            expected=f"{height} x {width}, as in the original",
        )
    first = Geometry.of(volume, geometry.plane, 0, geometry.frame)
    start, place = first.place(), geometry.place()
    far = np.array([*(n - 1 for n in geometry.frame.native), 1.0])
    step = replace(first, index=1).place()[:, 2] - start[:, 2]
    offset = place[:, 2] - start[:, 2]
    index = round(float(offset @ step / (step @ step)))
    apart = np.abs(offset - index * step).max()
    turned = np.abs((place - start) @ (far * [1, 1, 0])).max()
    if turned > NEAR or apart > max(NEAR, 0.01 * float(np.linalg.norm(step))):
        what = (
            "in spacing or direction" if turned > NEAR else f"by {float(np.linalg.norm(offset - index * step)):.3g} mm"
        )
        raise DataError(
            f"its header differs from the original's {what}",
            where=volume.file,
            expected="the same origin, directions and spacing",
            remedy="Write the translation with the original's header, or resample it to the original's grid",
        )
    return index if 0 <= index < count else None


def put_back(items: Iterable[tuple[NDArray[Any], Slice]], *, masks: bool = False) -> Volume:
    """Stored slices of one volume, back in the geometry and units of its file.

    Exact up to the stored depth if slices were not resized and values lie within the window; clipped values stay
    clipped. Missing slices and borders hold the window's lower end (masks: 0).

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
            place[geometry.index] = native(decode(stored), geometry.frame, (low, high))
    if full is None or first is None or record is None:
        raise DataError("there are no slices to reassemble")
    affine = np.array(first.affine)
    return Volume.oriented(full, affine, first.axes, record.file, measure_unit="" if masks else record.measure_unit)


def _check(geometry: Geometry, first: Geometry, slice_ids: dict[int, str], shape: tuple[int, ...], where: str) -> None:
    if replace(geometry, index=first.index, frame=first.frame) != first:
        raise DataError("these slices belong to different volumes", where=where)
    if geometry.index in slice_ids:
        raise DataError(f"this is the same slice as '{slice_ids[geometry.index]}'", where=where)
    if shape != geometry.frame.size:
        raise DataError(f"the image is {_size(shape)}", where=where, expected=_size(geometry.frame.size))


def _window(record: Slice) -> tuple[float, float]:
    if record.window is None:
        raise DataError(
            "this slice has no window, so the values of its grey levels are not known", where=record.slice_id
        )
    return record.window


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape) + " pixels"
