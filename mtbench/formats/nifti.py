"""NIfTI: first the header, then no more bytes than it announces, compressed or not, whatever the file's ending."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.limits import check_announced, check_size, inflate
from mtbench.formats.orientation import axis_codes, three_axes
from mtbench.formats.units import in_millimetres
from mtbench.formats.volume import Volume

_GZIP = b"\x1f\x8b"
_NIFTI_2 = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
_HEADER = 540
_MAX_EXTENSIONS = 1 << 26
_UNITS = {1: "m", 2: "mm", 3: "um"}
_QUANTUM = 0.1
"""Largest distance of a label that was stored with a slope from an integer."""


def read_nifti(path: Path, *, label_map: bool = False) -> Volume:
    """One NIfTI volume in millimetres; slope and intercept are applied; integers without them stay integers.

    Args:
        label_map: values that were stored with a slope are rounded to integers, from which they differ by at most half
            a slope.

    Raises:
        DataError: more than three dimensions, an unusable affine, or it announces more than the limits or than the file
            holds.
        OSError: not a NIfTI file, or a truncated one.
    """
    image = open_nifti(path)
    values: Any = image.dataobj
    if values.slope == 1 and values.inter == 0:
        array = np.asarray(values.get_unscaled())
    else:
        array = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
        if label_map:
            array = _whole(array, abs(float(values.slope)))
    # The library would refuse a header because of its unit of time, too.
    unit = _UNITS.get(int(image.header["xyzt_units"]) & 7, "")
    affine = in_millimetres(np.asarray(image.affine, np.float64), unit)
    return Volume.oriented(three_axes(array, str(path)), affine, axis_codes(affine, str(path)), str(path))


def open_nifti(path: Path) -> Any:
    """The file as a nibabel image with its values in memory.

    Raises:
        DataError, OSError: as :func:`read_nifti`.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    raw = content(path)
    packed = raw[:2] == _GZIP
    start = inflate(raw, _HEADER) if packed else raw[:_HEADER]
    try:
        kind = _kind(start)
        header = kind.header_class(start[: kind.header_class.sizeof_hdr], check=False)
        announced = _announced(header, path)
        if packed:
            raw = inflate(raw, announced.end)
        check_announced(announced.values, len(raw) - announced.start, str(path))
        return kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError) as error:
        raise OSError(f"not a NIfTI file, or a damaged one: {error}") from error


def as_file(image: Any, path: Path) -> bytes:
    """The bytes to write to ``path``: compressed if its name ends in ``.gz``.

    Args:
        image: nibabel's.
        path: ``.nii.gz`` or ``.nii``.
    """
    raw: bytes = image.to_bytes()
    return gzip.compress(raw, 6, mtime=0) if path.name.lower().endswith(".gz") else raw


@dataclass(frozen=True)
class _Announced:
    """The offset of the values and their number of bytes."""

    start: int
    values: int

    @property
    def end(self) -> int:
        return self.start + self.values


def _kind(start: bytes) -> Any:
    from nibabel import Nifti1Image, Nifti2Image

    kind = Nifti2Image if start[:4] in _NIFTI_2 else Nifti1Image
    if len(start) < kind.header_class.sizeof_hdr:
        raise OSError("not a NIfTI file, or a truncated one: its header is too short")
    return kind


def _announced(header: Any, path: Path) -> _Announced:
    shape = header.get_data_shape()
    check_size(shape, str(path))
    offset = float(header["vox_offset"])
    if not (math.isfinite(offset) and 0 <= offset <= _MAX_EXTENSIONS):
        raise DataError(f"its values start at byte {offset:g}", where=str(path), expected="right behind the header")
    size = math.prod(int(n) for n in shape) * int(header.get_data_dtype().itemsize)
    return _Announced(max(int(offset), int(header.sizeof_hdr)), size)


def _whole(array: NDArray[np.float32], slope: float) -> NDArray[Any]:
    """Labels that were stored in fewer bits than they need: integers if all of them nearly are."""
    rounded = np.rint(array)
    off = float(np.abs(array - rounded).max(initial=0))
    return rounded if off <= min(0.501 * slope + 1e-4, _QUANTUM) else array
