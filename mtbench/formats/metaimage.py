"""MetaImage (.mha): a text header, then raw or deflated values.

Format: https://itk.org/Wiki/MetaIO/Documentation. Read: 3-D scalar images, little or big endian, with
their data in the same file. Axes are LPS, as ITK writes them.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.orientation import axis_codes
from mtbench.formats.volume import Volume

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_MAX_HEADER = 65536
_ABOUT_VALUES = (
    *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "CompressedDataSize"),
    *("ElementType", "ElementMin", "ElementMax", "ElementDataFile"),
)


def read_metaimage(path: Path) -> Volume:
    """One MetaImage volume.

    Raises:
        DataError: not a 3-D scalar MetaImage, or fewer values than the header announces.
    """
    raw = content(path)
    header, start = _header(raw, path)
    size = [int(v) for v in header.get("DimSize", "").split()]
    kind = _TYPES.get(header.get("ElementType", ""))
    if len(size) != 3 or kind is None or int(header.get("ElementNumberOfChannels", "1")) != 1:
        raise DataError(
            f"DimSize is '{header.get('DimSize', '')}', ElementType '{header.get('ElementType', '')}'",
            where=str(path),
            expected="three dimensions, one channel, a numeric type",
        )
    big = header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = np.dtype((">" if big else "<") + kind)
    data = _payload(raw[start:], header, path)
    expected = int(np.prod(size)) * dtype.itemsize
    if len(data) < expected:
        raise DataError(f"the file is truncated: {len(data)} of {expected} bytes of values", where=str(path))
    values = np.frombuffer(data[:expected], dtype).reshape(size, order="F")
    array = values.astype(dtype.newbyteorder("="), order="K", copy=False)
    affine = _affine(header)
    return Volume.oriented(array, affine, axis_codes(affine, str(path)), str(path))


def rewritten(path: Path, array: NDArray[Any]) -> bytes:
    """The file ``path`` with other values: its header, and ``array`` (three axes in the file's order) behind it."""
    header, _ = _header(path.read_bytes(), path)
    fields = {name: value for name, value in header.items() if name not in _ABOUT_VALUES}
    fields |= {
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "ElementType": next(name for name, kind in _TYPES.items() if np.dtype(kind) == array.dtype),
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


def _payload(data: bytes, header: dict[str, str], path: Path) -> bytes:
    if header["ElementDataFile"] != "LOCAL":
        raise DataError("its values are in another file", where=str(path), expected="ElementDataFile = LOCAL")
    return zlib.decompress(data) if header.get("CompressedData", "False").lower() == "true" else data


def _affine(header: dict[str, str]) -> np.ndarray:
    def numbers(names: tuple[str, ...], default: str) -> np.ndarray:
        text = next((header[name] for name in names if name in header), default)
        return np.array([float(v) for v in text.split()])

    # TransformMatrix holds the direction of each axis in turn, so its rows are the affine's columns.
    directions = numbers(("TransformMatrix", "Orientation", "Rotation"), "1 0 0 0 1 0 0 0 1").reshape(3, 3).T
    affine = np.eye(4)
    affine[:3, :3] = directions * numbers(("ElementSpacing", "ElementSize"), "1 1 1")
    affine[:3, 3] = numbers(("Offset", "Position", "Origin"), "0 0 0")
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
