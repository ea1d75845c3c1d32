"""A table of a results directory as a Parquet file with a checksum over all of its bytes.

Parquet's own checksums cover the pages but not the footer, which locates the pages of each column.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtbench.errors import DamagedError
from mtbench.store.files import read_regular, write_whole

_STATE = b"mtbench.journal"
"""The key in the metadata for the state of the journal that the table was built from."""
_SUM = b"mtbench.crc32"
_MARK = b"crc32:"
_BLANK = b"--------"
_FLOOR, _GROWTH = 2**27, 1000
"""The most bytes of a table: a constant plus a factor times its journal's (a case of 20 bytes is a row of 600)."""


def write_table(path: Path, table: pa.Table, state: bytes) -> None:
    """Write a table.

    Raises:
        StoreError: the disk is full or ``path`` is not writable.
    """
    buffer = io.BytesIO()
    labelled = table.replace_schema_metadata({_STATE: state, _SUM: _MARK + _BLANK})
    pq.write_table(labelled, buffer, row_group_size=100_000, write_page_checksum=True)
    data = buffer.getvalue()
    before, after = _around(data)
    write_whole(path, lambda file: file.write(before + _checksum(data) + after))


def read_table(path: Path, journal: int) -> tuple[pa.Table, bytes]:
    """A table, and the state of the journal that it was built from.

    Args:
        path: its file.
        journal: bytes of that journal, which bound the size of the table.

    Raises:
        DamagedError: it has changed since it was written, or contains more than its journal can.
        StoreError: it is a link, a pipe or a device.
        OSError: it cannot be read.
    """
    most = _FLOOR + _GROWTH * journal
    data = read_regular(path, most)
    before, after = _around(data)
    if data != before + _checksum(before + _BLANK + after) + after:
        raise DamagedError("the table has changed since it was written", where=str(path))
    try:
        schema = pq.read_schema(io.BytesIO(data))
        # A text in a million rows is read once, and expanded only if that is no decompression bomb.
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        with pq.ParquetFile(io.BytesIO(data), read_dictionary=texts) as file:
            rows = file.metadata.num_rows
            if rows > journal or rows * len(schema) * 8 > most:
                raise DamagedError("the table has more rows than its journal", where=str(path))
            packed = file.read()
            state = (file.metadata.metadata or {}).get(_STATE, b"")
        if sum(map(_unpacked, packed.columns)) > most:
            raise DamagedError("the table contains more text than its journal", where=str(path))
        table = packed.cast(schema)
        table.validate(full=True)
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        raise DamagedError(f"the table cannot be read: {error!s:.200}", where=str(path)) from error
    return table, state


def _unpacked(column: pa.ChunkedArray) -> int:
    """Bytes of the texts of a column after expansion to one text per row."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    parts = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(lengths.cast(pa.int64())).as_py() or 0 for lengths in parts)


def _around(data: bytes) -> tuple[bytes, bytes]:
    """The bytes before and after the checksum: the metadata are in the footer, so the last mark is the right one."""
    start = data.rfind(_MARK) + len(_MARK)
    return data[:start], data[start + len(_BLANK) :]


def _checksum(data: bytes) -> bytes:
    return f"{zlib.crc32(data):08x}".encode()
