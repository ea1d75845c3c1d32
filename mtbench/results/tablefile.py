"""A table of a results directory as a Parquet file that carries a checksum over every byte of itself.

Parquet's own checksums cover the pages and not the footer, which says where which column's pages are.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.errors import DamagedError
from mtbench.store.files import read_regular, write_whole

_STATE = b"mtbench.journal"
"""In the metadata: the state of the journal that it was made from."""
_SUM = b"mtbench.crc32"
_MARK = b"crc32:"
_BLANK = b"--------"


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


def read_table(path: Path) -> tuple[pa.Table, bytes]:
    """A table, and the state of the journal that it was made from.

    Raises:
        DamagedError: it is not what was written.
        StoreError: it is a link, a pipe or a device.
        OSError: it cannot be read.
    """
    data = read_regular(path)
    before, after = _around(data)
    if data != before + _checksum(before + _BLANK + after) + after:
        raise DamagedError("the table is not what was written", where=str(path))
    with pq.ParquetFile(io.BytesIO(data)) as file:
        return file.read(), (file.metadata.metadata or {}).get(_STATE, b"")


def _around(data: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the checksum: the metadata are in the footer, so its mark is the last one."""
    start = data.rfind(_MARK) + len(_MARK)
    return data[:start], data[start + len(_BLANK) :]


def _checksum(data: bytes) -> bytes:
    return f"{zlib.crc32(data):08x}".encode()
