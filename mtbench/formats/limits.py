"""Limits on the size of files, and on decompression to the size that the header announces.

Headers are not trusted. A file of three megabytes may announce, or decompress to, more than any machine has; so the
announced size is checked against the limits and the file before memory is allocated.
"""

from __future__ import annotations

import bz2
import math
import os
import zlib
from collections.abc import Iterable
from typing import Any

from mtbench.errors import DataError, RequestError
from mtbench.memory import require_memory

IMAGE, VOLUME = "MTBENCH_MAX_IMAGE", "MTBENCH_MAX_VOLUME"
_DEFAULT = {IMAGE: 2**26, VOLUME: 2**29}
_LARGEST_VALUE = 8
"""Bytes of the largest number type in a file."""
IN_BLOCKS = "`mtbench score` reads uncompressed NIfTI, MetaImage and NRRD volumes in blocks"
_CHUNK = 1 << 20
_TAIL = 1 << 16
"""Bytes after the announced values that are still decompressed, so that the checksum after them is reached."""


def limit(name: str) -> int:
    """The largest number of pixels of one image (``IMAGE``) or of values of one file or series (``VOLUME``).

    Raises:
        RequestError: the environment variable of that name is not a positive integer.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return _DEFAULT[name]
    if not text.isdecimal() or int(text) < 1:
        raise RequestError(f"{name} is '{text}'", expected=f"a whole number from 1; if unset, {_DEFAULT[name]}")
    return int(text)


def check_size(shape: Iterable[int], where: str, *, channels: int = 1, on_disk: bool = False) -> int:
    """The number of values in an image or a volume that a header announces.

    Args:
        shape: the sizes; one image counts against ``IMAGE``, everything against ``VOLUME``.
        where: the file.
        channels: values of a pixel.
        on_disk: the values stay in the file, so ``VOLUME`` does not count. Check them against its length.

    Raises:
        DataError: a size below 1, or more than the limit.
    """
    sizes = tuple(int(size) for size in shape)
    if not sizes or min(sizes) < 1:
        raise DataError(f"its shape is {_times(sizes) or 'empty'}", where=where, expected="sizes of at least 1")
    pixels = math.prod(sizes)
    name, noun = (IMAGE, "an image") if sum(size > 1 for size in sizes) <= 2 else (VOLUME, "a volume")
    if pixels > limit(name) and not (on_disk and name == VOLUME):
        raise too_large(f"it is {noun} of {_times(sizes)} = {pixels:,} values", name, where)
    if pixels * channels > limit(VOLUME) and not on_disk:
        raise too_large(f"it holds {_times(sizes)} x {channels} = {pixels * channels:,} values", VOLUME, where)
    return pixels * channels


def check_bytes(size: int, where: str) -> None:
    """Refuse a file that is longer than the largest volume.

    Raises:
        DataError: it is.
    """
    # Headers and previews come on top, but are never larger than the values.
    if size > 2 * _LARGEST_VALUE * limit(VOLUME):
        raise too_large(f"it has {size:,} bytes", VOLUME, where)


def check_memory(size: int, where: str) -> None:
    """Refuse a file of ``size`` bytes that is read as a whole if it needs more memory than is free.

    Raises:
        DataError: it does.
    """
    # The bytes, and the values that are made of them.
    require_memory(2 * size, where, remedy=f"{IN_BLOCKS}: convert this file, or free memory")


def check_announced(announced: int, available: int, where: str) -> None:
    """Refuse a file with fewer bytes of values than its header announces.

    Raises:
        DataError: it has fewer.
    """
    if available < announced:
        raise DataError(
            f"the file is truncated: {available:,} of {announced:,} bytes of values",
            where=where,
            remedy="Copy or download it again",
        )


def inflate(data: bytes, announced: int, kind: str = "zlib", *, where: str = "") -> bytes:
    """At most the first ``announced`` bytes of compressed data; fewer if there are no more.

    Args:
        data: zlib or gzip (one stream or several, as pigz and bgzip write them), deflate without header, or bzip2.
        announced: the number of bytes in the header.
        kind: "zlib" (gzip too), "deflate" or "bzip2".
        where: the file.

    Raises:
        DataError: they need more memory than is free.
        OSError: the data are damaged.
    """
    # The values, a copy of them, and a part that is converted or cut.
    require_memory(3 * announced, where, remedy=f"{IN_BLOCKS}: decompress this file, or free memory")
    result = bytearray()
    rest = data
    end = announced + _TAIL
    try:
        while rest and len(result) < announced:
            stream = _stream(kind)
            while not stream.eof and len(result) < end:
                size = min(_CHUNK, end - len(result))
                piece = stream.decompress(rest, size)
                rest = b"" if kind == "bzip2" else stream.unconsumed_tail
                result += piece
                if not piece and not rest and not stream.eof and (kind != "bzip2" or stream.needs_input):
                    raise EOFError("the compressed data end too early")
            if not stream.eof:
                break
            rest = stream.unused_data.lstrip(b"\0")
    except (zlib.error, OSError, EOFError) as error:
        raise OSError(f"its compressed values are damaged: {error}") from error
    return bytes(memoryview(result)[:announced])


def _stream(kind: str) -> Any:
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    # 32: the header says whether it is gzip or zlib.
    return zlib.decompressobj(-zlib.MAX_WBITS if kind == "deflate" else zlib.MAX_WBITS | 32)


def too_large(what: str, name: str, where: str) -> DataError:
    """The error for exceeding the limit of that name."""
    return DataError(
        what,
        where=where,
        expected=f"at most {limit(name):,}",
        remedy=f"If the file is correct, set the environment variable {name} to a larger number",
    )


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)
