"""The lines of a journal: written with a checksum, which is verified at every reading."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mtbench.jsontext import LARGEST, parse
from mtbench.results.entries import Entry, entry_of
from mtbench.store.files import open_regular

REMEDY = "Restore the file from a copy, or delete the line and rerun the suite"


@dataclass(frozen=True)
class Line:
    """A line that was read.

    Attributes:
        number: its number in the file, from 1.
        entry: its content; ``None`` if it is lost or unknown to this version.
        fault: what is wrong with it.
        torn: whether it is an incomplete last line, as a kill leaves it, which is not a fault.
    """

    number: int
    entry: Entry | None
    fault: str = ""
    torn: bool = False


def journal_line(record: Mapping[str, object]) -> str:
    """A record as a journal line; ``sum`` is the CRC-32 of the rest, so that altered lines are detected."""
    text = json.dumps(record, sort_keys=True, default=str)
    return f'{text[:-1]}, "sum": "{_checksum(text.encode())}"}}\n'


def read_journal(path: Path) -> Iterator[Line]:
    """The lines of a journal. A last line that lacks only its line break is complete.

    Raises:
        StoreError: it is a link, a pipe or a device.
    """
    with open_regular(path) as file:
        number = 0
        while text := file.readline(LARGEST + 2):
            number += 1
            end = text
            while len(text) > LARGEST + 1 and end and not end.endswith(b"\n"):
                end = file.readline(1 << 20)
            if text.strip():
                yield _read(number, text)


def _read(number: int, text: bytes) -> Line:
    whole = text.removesuffix(b"\n")
    try:
        record = parse(whole)
    except ValueError as error:
        if text == whole and len(text) <= LARGEST:
            return Line(number, None, torn=True)
        fault = f"{error}: the line is damaged, or another program wrote it; its content is lost"
        return Line(number, None, fault)
    altered = isinstance(record, dict) and "sum" in record and record.pop("sum") != _checksum(_before_sum(whole))
    fault = "the line was altered after it was written (its checksum differs)" if altered else ""
    try:
        return Line(number, entry_of(record), fault)
    except ValueError as error:
        return Line(number, None, fault or str(error))


def _before_sum(text: bytes) -> bytes:
    return text[: text.rfind(b', "sum": ')] + b"}"


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"
