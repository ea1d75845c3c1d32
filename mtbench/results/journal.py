"""The lines of a journal: written with a checksum, and checked whenever they are read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench.store.files import open_regular


@dataclass(frozen=True)
class Line:
    """A line as it was read.

    Attributes:
        number: in its file, from 1.
        record: what it says; empty where that is lost.
        fault: what is wrong with it.
        torn: whether it is the last one and was cut off, the mark of a kill; that is no fault.
    """

    number: int
    record: dict[str, Any]
    fault: str = ""
    torn: bool = False


def journal_line(record: Mapping[str, object]) -> str:
    """A record as the journal keeps it; ``sum`` is the CRC-32 of the rest, so that an altered line is noticed."""
    text = json.dumps(record, sort_keys=True, default=str)
    return f'{text[:-1]}, "sum": "{_checksum(text.encode())}"}}\n'


def read_journal(path: Path) -> Iterator[Line]:
    """The lines of a journal. One that lost only its line break at the end is whole.

    Raises:
        StoreError: it is a link, a pipe or a device.
    """
    with open_regular(path) as file:
        for number, text in enumerate(file, 1):
            record, fault = _read(text.removesuffix(b"\n"))
            torn = not record and not text.endswith(b"\n")
            if text.strip():
                yield Line(number, record, "" if torn else fault, torn)


def _read(text: bytes) -> tuple[dict[str, Any], str]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}, "this is no JSON: the line was damaged, and what it said is lost"
    if not isinstance(record, dict) or "type" not in record:
        return {}, "this is no record of a journal"
    if "sum" in record and record["sum"] != _checksum(text[: text.rfind(b', "sum": ')] + b"}"):
        return record, "the line was altered after it was written (its checksum differs)"
    return record, ""


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"
