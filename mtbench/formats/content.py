"""Raw files, each read once: bytes for the decoder, sha256 for the data set's fingerprint."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from mtbench.formats.limits import check_bytes, check_memory
from mtbench.store.files import FileState

Digest = tuple[FileState, str]
"""State of the file when it was read, and sha256 in hexadecimal."""

_DIGESTS: ContextVar[dict[str, Digest] | None] = ContextVar("digests", default=None)


@contextmanager
def recorded_digests() -> Iterator[dict[str, Digest]]:
    """Within the block, in this thread: every file that :func:`content` reads, by its path."""
    digests: dict[str, Digest] = {}
    token = _DIGESTS.set(digests)
    try:
        yield digests
    finally:
        _DIGESTS.reset(token)


def content(path: Path) -> bytes:
    """The bytes of a file; their hash is recorded within :func:`recorded_digests`.

    Raises:
        DataError: it is larger than the largest volume (see :mod:`mtbench.formats.limits`), or than memory allows.
        OSError: the file cannot be read.
    """
    digests = _DIGESTS.get()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        check_bytes(size, str(path))
        check_memory(size, str(path))
        if digests is None:
            return file.read()
        # The state is read before the bytes: if the file changes meanwhile, the states differ.
        state = FileState.of(path.stat())
        data = file.read()
    digests[str(path)] = (state, hashlib.sha256(data).hexdigest())
    return data
