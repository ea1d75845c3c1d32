"""NRRD: volumes and stacks, with values after the header or in a file beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.channels import grey
from mtbench.formats.content import content
from mtbench.formats.detached import FIELDS, data_file, data_file_name
from mtbench.formats.limits import check_announced, check_size, inflate
from mtbench.formats.orientation import axis_codes, three_axes
from mtbench.formats.stored import Stored, unchanged
from mtbench.formats.units import in_millimetres
from mtbench.formats.volume import Volume

_SPACES = {
    "ras": "right-anterior-superior",
    "lps": "left-posterior-superior",
    "las": "left-anterior-superior",
}
_DOMAINS = ("domain", "space", "time", "???", "none")
_WORDS = ("kinds", "labels", "units", "centerings")
_OF_AXES = ("sizes", "spacings", "space directions", *_WORDS)
"""Fields with an entry for each axis."""
_TOWARDS = {"right": 1.0, "left": -1.0, "anterior": 1.0, "posterior": -1.0, "superior": 1.0}
_PACKED = {"gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}
_RAW = "raw"
_MAX_SKIP = 1 << 20
_SKIPS = ("line skip", "lineskip", "byte skip", "byteskip")
_SIZES = {"8": 1, "16": 2, "32": 4, "64": 8, "char": 1, "short": 2, "long": 8, "int": 4, "float": 4, "double": 8}
"""Bytes per value, by a part of the type's name; the first match counts."""


def read_nrrd(path: Path, *, lazy: bool = False) -> Volume:
    """One NRRD volume; without ``space directions`` a stack without orientation, its last axis the slices.

    Args:
        lazy: values of an uncompressed file stay in it until they are indexed (:class:`Stored`), if it has three axes
            in space.

    Raises:
        DataError: more than three dimensions, several values per voxel, another space than RAS, LPS or LAS, unusable
            directions, or values in a file that is not beside it.
        OSError: not an NRRD file, or a truncated one.
    """
    plain = _plain(path) if lazy else None
    if plain is not None:
        stored, header = plain
        affine = nrrd_affine(header, path)
        array: Any = stored
        if affine is None:
            return Volume(array.transpose((2, 1, 0)), str(path))
        return Volume.oriented(array, affine, axis_codes(affine, str(path)), str(path))
    array, header = open_nrrd(path)
    array = _one_value_each(array, header, str(path))
    affine = None if array.ndim == 2 else nrrd_affine(header, path)
    if affine is None:
        return Volume(np.ascontiguousarray(array.T), str(path))
    return Volume.oriented(three_axes(array, str(path)), affine, axis_codes(affine, str(path)), str(path))


def _plain(path: Path) -> tuple[Stored, Mapping[str, Any]] | None:
    """Uncompressed values where they are, and the header; ``None`` for all files whose values need more than a cast.

    Raises:
        DataError: as :func:`open_nrrd`.
        OSError: not an NRRD file, or a truncated one.
    """
    import nrrd

    with path.open("rb") as file:
        named = data_file_name(file)
        source = path if named is None else data_file(path, named)
        file.seek(0)
        try:
            header = nrrd.read_header(file)
        except nrrd.NRRDError as error:
            raise OSError(str(error)) from error
        start = 0 if named else file.tell()
    if {header.pop(field) for field in FIELDS if field in header} != {named} - {None}:
        return None
    in_space = all(str(kind).lower() in _DOMAINS for kind in header.get("kinds", ()))
    sizes = [int(size) for size in header.get("sizes", ())]
    if header.get("encoding") != _RAW or len(sizes) != 3 or not in_space or any(skip in header for skip in _SKIPS):
        return None
    # The library knows the names of types and the byte order; one value is enough to ask it.
    one = nrrd.read_data({**header, "sizes": np.array([1, 1, 1])}, BytesIO(bytes(16)))
    announced = check_size(sizes, str(path), on_disk=True) * one.dtype.itemsize
    check_announced(announced, source.stat().st_size - start, str(path))
    return Stored(source, start, one.dtype, (sizes[0], sizes[1], sizes[2]), unchanged), header


def _one_value_each(array: NDArray[Any], header: Mapping[str, Any], where: str) -> NDArray[Any]:
    """The array without non-spatial axes: those of length 1, and channels that are equal.

    Raises:
        DataError: there are several values per voxel.
    """
    kinds = [str(kind).lower() for kind in header.get("kinds", ())] or ["domain"] * array.ndim
    directions = header.get("space directions")
    for axis in reversed(range(array.ndim)):
        in_space = directions is None or not np.isnan(np.asarray(directions[axis], np.float64)).all()
        # Images one after another, along the slowest axis, are a stack.
        if in_space and (kinds[axis] in _DOMAINS or (kinds[axis] == "list" and axis == array.ndim - 1 and axis < 3)):
            continue
        count = array.shape[axis]
        if count == 1:
            array = array.take(0, axis)
        elif kinds[axis].endswith("-color"):
            array = grey(np.moveaxis(array, axis, -1), where)
        else:
            raise DataError(
                f"it holds {count} values per voxel (an axis of kind '{kinds[axis]}')",
                where=where,
                expected="one grey value",
                remedy="Write each of them to a separate file",
            )
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array


def without_channels(header: Mapping[str, Any]) -> dict[str, Any]:
    """The header of a file whose equal channels are written as one."""
    channels = [axis for axis, kind in enumerate(header.get("kinds", ())) if str(kind).lower().endswith("-color")]
    return {
        name: np.delete(np.asarray(value, object if name in _WORDS else None), channels, 0).tolist()
        if name in _OF_AXES and channels
        else value
        for name, value in header.items()
    }


def open_nrrd(path: Path) -> tuple[NDArray[Any], Mapping[str, Any]]:
    """Array, first axis fastest in the file, and header of an NRRD file.

    Raises:
        DataError: its values are in a file that is not beside it.
        OSError: not an NRRD file, or a truncated one.
    """
    import nrrd

    file = BytesIO(content(path))
    named = data_file_name(file)
    beside = None if named is None else data_file(path, named)
    file.seek(0)
    try:
        header = nrrd.read_header(file)
        # Never let the library open another file itself.
        if {header.pop(field) for field in FIELDS if field in header} != {named} - {None}:
            raise OSError("its header names its data file ambiguously")
        if beside is not None:
            file = BytesIO(content(beside))
        array = nrrd.read_data(*_unpacked(header, file, str(path)))
    except nrrd.NRRDError as error:
        raise OSError(str(error)) from error
    return array, header


def _unpacked(header: Mapping[str, Any], file: BytesIO, where: str) -> tuple[Any, BytesIO]:
    """Header and uncompressed values for the library, which would decompress without a limit."""
    shape = [int(size) for size in header.get("sizes", ())]
    check_size(shape, where)
    itemsize = next((size for word, size in _SIZES.items() if word in str(header.get("type", ""))), 0)
    announced, encoding = math.prod(shape) * itemsize, str(header.get("encoding", "")).lower()
    kind = _PACKED.get(encoding)
    if kind is None:
        if encoding == _RAW:
            check_announced(announced, len(file.getvalue()) - file.tell(), where)
        return header, file
    lines, skip = (int(header.get(name, header.get(name.replace(" ", ""), 0))) for name in ("line skip", "byte skip"))
    for _ in range(min(lines, len(file.getvalue()))):
        file.readline()
    if not -1 <= skip <= _MAX_SKIP:
        raise OSError(f"its values start after {skip} bytes")
    # -1: the values are the last bytes of the file.
    values = inflate(file.read(), announced + (_MAX_SKIP if skip == -1 else skip), kind)
    values = values[len(values) - announced :] if skip == -1 else values[skip:]
    check_announced(announced, len(values), where)
    fields = {name: value for name, value in header.items() if name not in _SKIPS}
    return {**fields, "encoding": _RAW}, BytesIO(values)


def nrrd_affine(header: Mapping[str, Any], path: Path) -> NDArray[np.float64] | None:
    """4 x 4, index along the spatial axes to RAS millimetres; ``None`` if the header has none.

    Raises:
        DataError: another space than RAS, LPS or LAS, or unusable directions.
    """
    if header.get("space directions") is None:
        return None
    space = str(header.get("space", "")).lower()
    words = _SPACES.get(space, space).split("-")
    if len(words) != 3 or any(word not in _TOWARDS for word in words):
        raise DataError(f"its space is '{space}'", where=str(path), expected="RAS, LPS or LAS")
    # A non-spatial axis (the layers of a segmentation) has the direction "none".
    rows = [row for row in np.asarray(header["space directions"], np.float64) if not np.isnan(row).all()]
    if np.shape(rows) != (3, 3):
        raise DataError(f"it has {len(rows)} directions in space", where=str(path), expected="three")
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(rows)
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), np.float64)
    units = {str(unit).strip('"') for unit in header.get("space units", ())}
    if len(units) > 1:
        raise DataError(f"its space units are {', '.join(sorted(units))}", where=str(path), expected="one unit")
    affine = np.diag([*(_TOWARDS[word] for word in words), 1.0]) @ affine
    return in_millimetres(affine, units.pop() if units else "mm")
