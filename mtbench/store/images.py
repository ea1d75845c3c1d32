"""Image sets on disk: growing arrays, and the index of their slices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.data import Slice
from mtbench.paths import storable

SLICE_FIELDS = tuple(f.name for f in fields(Slice) if f.name != "channel_windows")
_PAIR = pa.list_(pa.float64())
_TYPES = {"index": pa.int64(), "spacing": _PAIR, "thickness": pa.float64(), "window": _PAIR}
INDEX = pa.schema([(name, _TYPES.get(name, pa.string())) for name in (*SLICE_FIELDS, "image_sha256", "mask_sha256")])
"""The columns of a domain's index, a Parquet file."""
CHANNEL_INDEX = INDEX.append(pa.field("channel_windows", pa.list_(_PAIR)))
"""The columns of the index of slices of several channels."""
ROWS = 4096
"""The number of records in memory before they are written."""
Record = tuple[Slice, str, str]
"""The record of a slice, and the :func:`content_of` its image and its mask; empty without a mask."""


class GrowingArray:
    """A .npy file whose first axis grows; its header is written last, in the space that NumPy reserves for it.

    It uses plain writes, not a memory map: on a full disk a write raises an error, but a memory map kills the process.

    Args:
        path: the file.
        first: an array of the shape and dtype that every addition has.
    """

    def __init__(self, path: Path, first: Any) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._shape = first.shape
        self._dtype = first.dtype
        self._count = 0
        self._header = {
            "descr": np.lib.format.dtype_to_descr(first.dtype),
            "fortran_order": False,
            "shape": (0, *first.shape),
        }
        np.lib.format.write_array_header_1_0(self._file, self._header)

    def add(self, array: Any) -> None:
        """Append one array, as the dtype of the first.

        Raises:
            ValueError: its shape differs.
        """
        if array.shape != self._shape:
            raise ValueError(f"an array of shape {array.shape} among arrays of shape {self._shape}")
        self._file.write(np.ascontiguousarray(array, dtype=self._dtype).tobytes())
        self._count += 1

    def truncate(self, count: int) -> None:
        """Remove all arrays but the first ``count``."""
        size = self._dtype.itemsize * math.prod(self._shape)
        self._file.flush()
        end = self._file.tell() - (self._count - count) * size
        self._file.seek(end)
        self._file.truncate()
        self._count = count

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Write the header and close the file."""
        try:
            self._file.seek(0)
            shape = (self._count, *self._shape)
            np.lib.format.write_array_header_1_0(self._file, {**self._header, "shape": shape})
        finally:
            self._file.close()


def content_of(array: Any) -> str:
    """The sha256 of an image's or a mask's dtype, shape and values, in hexadecimal."""
    sha = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def write_records(file: pq.ParquetWriter, records: list[Record]) -> None:
    """Append records to an index of the schema ``INDEX`` or ``CHANNEL_INDEX``, and clear the list."""
    rows = [
        {name: storable(value) if isinstance(value, str) else value for name, value in asdict(record).items()}
        | {"image_sha256": image, "mask_sha256": mask}
        for record, image, mask in records
    ]
    file.write_table(pa.Table.from_pylist(rows, schema=file.schema))
    records.clear()


def write_index(path: Path, slices: Sequence[Slice]) -> None:
    """Write the records of slices as Parquet, without the hashes of their content."""
    with pq.ParquetWriter(path, INDEX) as file:
        for start in range(0, len(slices) + 1, ROWS):
            write_records(file, [(record, "", "") for record in slices[start : start + ROWS]])


def read_slices(folder: Path, domain: str) -> list[Slice]:
    """The records of a prepared domain, in the order of its images."""
    path = folder / f"index-{domain}.parquet"
    if not path.exists():
        return []
    # Not pq.read_table: it imports pandas, which takes longer than the rest of a short unit.
    with pq.ParquetFile(path) as file:
        names = [name for name in (*SLICE_FIELDS, "channel_windows") if name in file.schema_arrow.names]
        return [slice_of(row) for row in file.read(names, use_threads=False).to_pylist()]


def read_contents(folder: Path, domain: str) -> list[tuple[str, str]]:
    """The sha256 of each slice's image and mask, in the order of the domain's images."""
    path = folder / f"index-{domain}.parquet"
    if not path.exists():
        return []
    with pq.ParquetFile(path) as file:
        table = file.read(["image_sha256", "mask_sha256"], use_threads=False)
    return list(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))


def slice_of(row: Mapping[str, Any]) -> Slice:
    """A record from its fields in JSON or Parquet."""
    pairs = {name: tuple(row[name]) for name in ("spacing", "window") if row[name] is not None}
    return Slice(**{**row, **pairs, "channel_windows": tuple(map(tuple, row.get("channel_windows") or ()))})


def fields_of(record: Slice) -> dict[str, Any]:
    """The fields of a record; without ``channel_windows`` if it has none, so that hashes of such records stay."""
    values = asdict(record)
    if not record.channel_windows:
        del values["channel_windows"]
    return values
