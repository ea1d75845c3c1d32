"""NIfTI: first the header, then no more bytes than it announces, compressed or not, whatever the file's ending."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.limits import check_announced, check_size, inflate
from mtbench.formats.orientation import axis_codes, three_sizes
from mtbench.formats.stored import Stored
from mtbench.formats.units import in_millimetres
from mtbench.formats.volume import Volume

_GZIP = b"\x1f\x8b"
_NIFTI_2 = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
_HEADER = 540
_MAX_EXTENSIONS = 1 << 26
_UNITS = {1: "m", 2: "mm", 3: "um"}
_QUANTUM = 0.1
"""Largest distance of a label that was stored with a slope from an integer."""


def read_nifti(path: Path, *, label_map: bool = False, lazy: bool = False) -> Volume:
    """One NIfTI volume in millimetres; slope and intercept are applied; integers without them stay integers.

    Args:
        label_map: values that were stored with a slope are rounded to integers, from which they differ by at most half
            a slope.
        lazy: values of an uncompressed file stay in it until they are indexed (:class:`Stored`).

    Raises:
        DataError: more than three dimensions, an unusable affine, or it announces more than the limits or than the file
            holds.
        OSError: not a NIfTI file, or a truncated one.
    """
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    source = path if lazy and not packed else _unpacked(path)
    image = _image(source, path)
    values: Any = image.dataobj
    slope, inter = float(values.slope), float(values.inter)

    def converted(raw: NDArray[Any]) -> NDArray[Any]:
        return raw if slope == 1 and inter == 0 else _scaled(raw, slope, inter, label_map=label_map)

    sizes = three_sizes(image.shape, str(path))
    stored = Stored(source, int(values.offset), values.dtype, sizes, converted)
    # The library would refuse a header because of its unit of time, too.
    unit = _UNITS.get(int(image.header["xyzt_units"]) & 7, "")
    affine = in_millimetres(np.asarray(image.affine, np.float64), unit)
    array: Any = stored if lazy else np.asarray(stored)
    return Volume.oriented(array, affine, axis_codes(affine, str(path)), str(path))


def open_nifti(path: Path) -> Any:
    """The file as a nibabel image with its values in memory.

    Raises:
        DataError, OSError: as :func:`read_nifti`.
    """
    return _image(_unpacked(path), path)


def _unpacked(path: Path) -> bytes:
    """The content of a file, decompressed as far as its header announces values."""
    raw = content(path)
    if raw[:2] != _GZIP:
        return raw
    _, announced = _start(inflate(raw, _HEADER), path)
    return inflate(raw, announced.end, where=str(path))


def _image(source: Path | bytes, path: Path) -> Any:
    """A nibabel image of a file, which it does not read beyond the header, or of its content."""
    with path.open("rb") if isinstance(source, Path) else BytesIO(source) as file:
        kind, announced = _start(file.read(_HEADER), path, on_disk=isinstance(source, Path))
        check_announced(announced.values, file.seek(0, SEEK_END) - announced.start, str(path))
        file.seek(0)
        with _library_errors():
            return kind.from_stream(file)


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


def _start(start: bytes, path: Path, *, on_disk: bool = False) -> tuple[Any, _Announced]:
    """The library's class of images for a file that starts like this, and what its header announces."""
    from nibabel import Nifti1Image, Nifti2Image

    kind = Nifti2Image if start[:4] in _NIFTI_2 else Nifti1Image
    if len(start) < kind.header_class.sizeof_hdr:
        raise OSError("not a NIfTI file, or a truncated one: its header is too short")
    with _library_errors():
        header = kind.header_class(start[: kind.header_class.sizeof_hdr], check=False)
        return kind, _announced(header, path, on_disk=on_disk)


@contextmanager
def _library_errors() -> Iterator[None]:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        yield
    except (ImageFileError, HeaderDataError) as error:
        raise OSError(f"not a NIfTI file, or a damaged one: {error}") from error


def _announced(header: Any, path: Path, *, on_disk: bool) -> _Announced:
    shape = header.get_data_shape()
    check_size(shape, str(path), on_disk=on_disk)
    offset = float(header["vox_offset"])
    if not (math.isfinite(offset) and 0 <= offset <= _MAX_EXTENSIONS):
        raise DataError(f"its values start at byte {offset:g}", where=str(path), expected="right behind the header")
    size = math.prod(int(n) for n in shape) * int(header.get_data_dtype().itemsize)
    return _Announced(max(int(offset), int(header.sizeof_hdr)), size)


def _scaled(raw: NDArray[Any], slope: float, inter: float, *, label_map: bool) -> NDArray[Any]:
    """Values with slope and intercept as the library applies them, in float32."""
    from nibabel.arrayproxy import ArrayProxy

    proxy = ArrayProxy(BytesIO(raw.tobytes(order="F")), (raw.shape, raw.dtype, 0, slope, inter))
    array = np.asarray(proxy, np.float32)
    return _whole(array, abs(slope)) if label_map else array


def _whole(array: NDArray[np.float32], slope: float) -> NDArray[Any]:
    """Labels that were stored in fewer bits than they need: integers if all of them nearly are."""
    rounded = np.rint(array)
    off = float(np.abs(array - rounded).max(initial=0))
    return rounded if off <= min(0.501 * slope + 1e-4, _QUANTUM) else array
