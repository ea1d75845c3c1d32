"""A table of a results directory as a Parquet file that carries a checksum over every byte of itself.

Parquet's own checksums cover the pages and not the footer, which says where which column's pages are.
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
"""In the metadata: the state of the journal that it was made from."""
_SUM = b"mtbench.crc32"
_MARK = b"crc32:"
_BLANK = b"--------"
_FLOOR, _GROWTH = 2**27, 1000
"""A table has at most so many bytes, and so many more for each of its journal's: a case of 20 bytes is a row of 600."""


def write_table(path: Path, table: pa.Table, state: bytes) -> None:
    """Write a table.

    Raises:
        StoreError: the disk is full or ``path`` may not be written.
    """
    buffer = io.BytesIO()
    labelled = table.replace_schema_metadata({_STATE: state, _SUM: _MARK + _BLANK})
    pq.write_table(labelled, buffer, row_group_size=100_000, write_page_checksum=True)
    data = buffer.getvalue()
    before, after = _around(data)
    write_whole(path, lambda file: file.write(before + _checksum(data) + after))


def read_table(path: Path, journal: int) -> tuple[pa.Table, bytes]:
    """A table, and the state of the journal that it was made from.

    Args:
        path: its file.
        journal: bytes of that journal, which bound what the table can hold.

    Raises:
        DamagedError: it is not what was written, or holds more than its journal could say.
        StoreError: it is a link, a pipe or a device.
        OSError: it cannot be read.
    """
    most = _FLOOR + _GROWTH * journal
    data = read_regular(path, most)
    before, after = _around(data)
    if data != before + _checksum(before + _BLANK + after) + after:
        raise DamagedError("the table is not what was written", where=str(path))
    try:
        schema = pq.read_schema(io.BytesIO(data))
        # A text that stands in a million rows is read once, and unpacked only where that is no bomb.
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        with pq.ParquetFile(io.BytesIO(data), read_dictionary=texts) as file:
            rows = file.metadata.num_rows
            if rows > journal or rows * len(schema) * 8 > most:
                raise DamagedError("the table has more rows than its journal", where=str(path))
            packed = file.read()
            state = (file.metadata.metadata or {}).get(_STATE, b"")
        if sum(map(_unpacked, packed.columns)) > most:
            raise DamagedError("the table holds more text than its journal", where=str(path))
        table = packed.cast(schema)
        table.validate(full=True)
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        raise DamagedError(f"the table cannot be read: {error!s:.200}", where=str(path)) from error
    return table, state


def _unpacked(column: pa.ChunkedArray) -> int:
    """Bytes of the texts of a column once each stands in its row."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    parts = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(lengths.cast(pa.int64())).as_py() or 0 for lengths in parts)


def _around(data: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the checksum: the metadata are in the footer, so its mark is the last one."""
    start = data.rfind(_MARK) + len(_MARK)
    return data[:start], data[start + len(_BLANK) :]


def _checksum(data: bytes) -> bytes:
    return f"{zlib.crc32(data):08x}".encode()
