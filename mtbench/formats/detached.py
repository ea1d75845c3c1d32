"""NRRD headers whose values are in another file: the path of that file, for reading and for fingerprints.

A header is untrusted text. It may only name a file beside it, not a key in the user's home.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path

from mtbench.errors import DataError

FIELDS = ("data file", "datafile")
_MAX_HEADER = 1 << 20


def with_data_files(files: Iterable[Path]) -> list[Path]:
    """The files, followed by the data files that their headers name."""
    result = list(files)
    data_files = []
    for path in result:
        if path.name.lower().endswith(".nrrd"):
            try:
                status = path.stat()
                name = _data_file_name(path, status.st_size, status.st_mtime_ns)
                if name is not None:
                    data_files.append(data_file(path, name))
            except (OSError, DataError):
                continue  # the reader reports what is wrong with it
    return list(dict.fromkeys((*result, *data_files)))


def data_file(path: Path, name: str) -> Path:
    """The file that the header ``path`` names as ``name``.

    Raises:
        DataError: it is not a regular file beside the header.
    """
    bare_name = name.removeprefix("./")
    beside = path.parent / bare_name
    try:
        allowed = re.fullmatch(r"[^/\\%]+", bare_name) is not None and bare_name not in (".", "..")
        allowed = allowed and not bare_name.upper().startswith("LIST") and stat.S_ISREG(beside.lstat().st_mode)
    except (OSError, ValueError):
        allowed = False
    if not allowed:
        raise DataError(
            f"its values are in another file, '{name}'",
            where=str(path),
            expected="a NRRD file that holds its values, or one whose 'data file' is a regular file beside it",
            remedy="Convert it to a single .nrrd file, with 3D Slicer, ITK or `unu save -f nrrd`",
        )
    return beside


def data_file_name(lines: Iterable[bytes]) -> str | None:
    """The data file that a NRRD header names, line by line; ``None`` if its values follow it."""
    size = 0
    for line in islice(lines, 1, None):
        size += len(line)
        text = line.decode("ascii", "ignore").rstrip()
        if not text or size > _MAX_HEADER:
            break
        field, _, value = text.partition(":")
        if field.strip() in FIELDS:
            return value.removeprefix("=").strip()
    return None


@lru_cache(maxsize=1 << 16)
def _data_file_name(path: Path, size: int, modified: int) -> str | None:
    with open(path, "rb") as file:
        return data_file_name(iter(lambda: file.readline(_MAX_HEADER), b""))
