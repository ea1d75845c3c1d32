"""MetaImage (.mha): a text header, then values: raw, deflated or as text.

Format: https://itk.org/Wiki/MetaIO/Documentation. Read: 3-D scalar images (and 2-D ones, as one slice), little or big
endian, with their data in the same file. Axes are LPS, as ITK writes them.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.limits import check_announced, check_size, inflate
from mtbench.formats.orientation import axis_codes, three_sizes
from mtbench.formats.stored import Stored, unchanged
from mtbench.formats.units import in_millimetres
from mtbench.formats.volume import Volume

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
    # Sizes as in MetaIO, on any machine.
    "MET_LONG": "i4", "MET_ULONG": "u4",
}  # fmt: skip
_MAX_HEADER = 65536
_ABOUT_VALUES = (
    *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "CompressedDataSize"),
    *("ElementType", "ElementMin", "ElementMax", "ElementDataFile"),
)


def read_metaimage(path: Path, *, lazy: bool = False) -> Volume:
    """One MetaImage volume in millimetres.

    Args:
        lazy: values of an uncompressed file stay in it until they are indexed (:class:`Stored`).

    Raises:
        DataError: not a scalar MetaImage of three dimensions, fewer values than the header announces, or more than
            the limits.
        OSError: its compressed values are damaged.
    """
    with path.open("rb") as file:
        header, start = _header(file.read(2 * _MAX_HEADER), path)
    if header["ElementDataFile"].upper() != "LOCAL":
        raise DataError("its values are in another file", where=str(path), expected="ElementDataFile = LOCAL")
    size, dtype = _size(header, path), _dtype(header, path)
    source, start = _values(path, header, start, size, dtype, lazy=lazy)
    affine = _affine(header, len(size), path)
    stored = Stored(source, start, dtype, three_sizes(size, str(path)), unchanged)
    array: Any = stored if lazy else np.asarray(stored)
    return Volume.oriented(array, affine, axis_codes(affine, str(path)), str(path))


def _size(header: dict[str, str], path: Path) -> list[int]:
    size = [int(v) for v in header.get("DimSize", "").split()]
    # One volume of a series of one.
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    if len(size) not in (2, 3) or int(header.get("ElementNumberOfChannels", "1")) != 1:
        raise DataError(
            f"DimSize is '{header.get('DimSize', '')}', with {header.get('ElementNumberOfChannels', '1')} channels",
            where=str(path),
            expected="three dimensions, one channel",
        )
    return size


def _dtype(header: dict[str, str], path: Path) -> np.dtype[Any]:
    kind = _TYPES.get(header.get("ElementType", ""))
    if kind is None:
        raise DataError(
            f"ElementType is '{header.get('ElementType', '')}'", where=str(path), expected="one of " + ", ".join(_TYPES)
        )
    big = _is(header, "BinaryDataByteOrderMSB", default=_is(header, "ElementByteOrderMSB", default=False))
    return np.dtype((">" if big else "<") + kind)


def rewritten(path: Path, array: NDArray[Any]) -> bytes:
    """The file ``path`` with other values: its header, followed by ``array`` (three axes in the file's order)."""
    header, _ = _header(content(path), path)
    fields = {name: value for name, value in header.items() if name not in _ABOUT_VALUES}
    fields |= {
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "ElementType": next(name for name, kind in _TYPES.items() if np.dtype(kind) == array.dtype.newbyteorder("=")),
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return text.encode("latin-1") + array.astype(array.dtype.newbyteorder("<")).tobytes(order="F")


def _header(raw: bytes, path: Path) -> tuple[dict[str, str], int]:
    header: dict[str, str] = {}
    file = BytesIO(raw)
    while file.tell() < _MAX_HEADER:
        name, equals, value = file.readline(4096).decode("latin-1").partition("=")
        if not equals:
            break
        header[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return header, file.tell()
    raise DataError("this is not a MetaImage file", where=str(path), expected="a header that ends with ElementDataFile")


def _values(
    path: Path, header: dict[str, str], start: int, size: list[int], dtype: np.dtype[Any], *, lazy: bool
) -> tuple[Path | bytes, int]:
    """The uncompressed values, in the file or in memory, and where in it they start."""
    binary = _is(header, "BinaryData", default=True)
    packed = binary and _is(header, "CompressedData", default=False)
    on_disk = lazy and binary and not packed
    announced = check_size(size, str(path), on_disk=on_disk) * dtype.itemsize
    source: Path | bytes = path if on_disk else content(path)
    length = path.stat().st_size
    if isinstance(source, bytes):
        if not binary:
            return _written_out(source[start:], dtype, announced // dtype.itemsize, path).tobytes(), 0
        if packed:
            source, start = inflate(source[start:], announced, where=str(path)), 0
        length = len(source)
    if not packed and int(header.get("HeaderSize", "0")) == -1:
        # The values are at the end of the file, whatever precedes them.
        start = max(start, length - announced)
    check_announced(announced, length - start, str(path))
    return source, start


def _written_out(data: bytes, dtype: np.dtype[Any], count: int, path: Path) -> NDArray[Any]:
    """Values as text, with any white space between them."""
    # Each takes a digit and a space at least.
    check_announced(2 * count - 1, len(data), str(path))
    words = data.split(maxsplit=count)[:count]
    check_announced(count * dtype.itemsize, len(words) * dtype.itemsize, str(path))
    # NumPy refuses integers that the type cannot hold.
    return np.array([float(word) if dtype.kind == "f" else int(word) for word in words], dtype)


def _is(header: dict[str, str], name: str, *, default: bool) -> bool:
    """A boolean as MetaIO reads it: by its first letter."""
    text = header.get(name, "").lower()
    return text.startswith(("t", "1")) if text else default


def _affine(header: dict[str, str], dimensions: int, path: Path) -> NDArray[np.float64]:
    def numbers(names: tuple[str, ...], default: NDArray[np.float64]) -> NDArray[np.float64]:
        name = next((name for name in names if name in header), None)
        if name is None:
            return default
        values = np.array([float(v) for v in header[name].split()])
        if values.size != default.size:
            raise DataError(f"{name} is '{header[name]}'", where=str(path), expected=f"{default.size} numbers")
        return values

    written = len(header["DimSize"].split())
    identity, ones = np.eye(written), np.ones(written)
    # TransformMatrix holds the direction of each axis in turn, so its rows are the affine's columns.
    directions = numbers(("TransformMatrix", "Orientation", "Rotation"), identity).reshape(written, written).T
    spacing, offset = (
        numbers(("ElementSpacing", "ElementSize"), ones),
        numbers(("Offset", "Position", "Origin"), 0 * ones),
    )
    used = min(dimensions, 3)
    affine = np.eye(4)
    affine[:used, :used] = (directions * spacing)[:used, :used]
    affine[:used, 3] = offset[:used]
    return in_millimetres(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, header.get("DistanceUnits", "mm"))
