"""PNG images, including 16-bit images with several channels, of which Pillow keeps only the upper bytes.

Format: https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.formats.channels import full_range, grey
from mtbench.formats.content import content
from mtbench.formats.limits import check_announced, check_size, inflate

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The parts of an interlaced image, in their order: first column and row, and the steps from one to the next."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class _Header:
    """The fields of the first chunk."""

    width: int
    height: int
    depth: int
    channels: int
    grey: bool
    interlaced: bool


def read_png(path: Path, *, label_map: bool) -> NDArray[Any]:
    """The grey values of a PNG file: H x W, uint8 or uint16.

    Args:
        label_map: take the indices of a palette, and the unscaled values of grey with fewer than 8 bits.

    Raises:
        DataError: more pixels than the limit, colour, or transparency that varies.
        OSError, ValueError: the file is damaged.
    """
    from PIL import Image

    raw = content(path)
    header = _header(raw)
    # Before Pillow reads it, which has another limit.
    check_size((header.height, header.width), str(path), channels=header.channels)
    if header.depth == 16 and header.channels > 1:
        return grey(_sixteen_bits(raw, header, str(path)), str(path))
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, header.height * header.width)
    with Image.open(BytesIO(raw), formats=["PNG"]) as image:
        image.load()
        if image.mode == "P" and not label_map:
            array = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
        else:
            array = np.asarray(image)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) if label_map else full_range(array, 1)
    if label_map and header.depth < 8 and header.grey:
        return np.asarray(array // (255 // (2**header.depth - 1)))  # which Pillow has scaled to 8 bits
    # Pillow's older versions hold 16 bits in 32.
    return grey(array.astype(np.uint16) if array.dtype.itemsize == 4 else array, str(path))


def _header(raw: bytes) -> _Header:
    if raw[:8] != _SIGNATURE or raw[12:16] != b"IHDR" or len(raw) < 33:
        raise OSError("not a PNG file, or a truncated one")
    width, height = int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")
    depth, kind, interlaced = raw[24], raw[25], raw[28] != 0
    if kind not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise OSError(f"its colour type is {kind}, its depth {depth}")
    return _Header(width, height, depth, _CHANNELS[kind], kind == 0, interlaced)


def _sixteen_bits(raw: bytes, header: _Header, where: str) -> NDArray[np.uint16]:
    """H x W x C."""
    parts = _INTERLACED if header.interlaced else ((0, 0, 1, 1),)
    result = np.empty((header.height, header.width, header.channels), np.uint16)
    sizes = [result[y::down, x::across].shape[:2] for x, y, across, down in parts]
    # Each row starts with a byte that names its filter; a part without columns has no rows.
    lengths = [height * (1 + 2 * width * header.channels) if width else 0 for height, width in sizes]
    data = inflate(_image_data(raw), sum(lengths))
    check_announced(sum(lengths), len(data), where)
    start = 0
    for (x, y, across, down), (height, width), length in zip(parts, sizes, lengths, strict=True):
        if length:
            rows = np.frombuffer(data, np.uint8, length, start).reshape(height, -1)
            pixels = rows[:, 1:].reshape(height, width, 2 * header.channels)
            plain = np.ascontiguousarray(_unfiltered(pixels, rows[:, 0]))
            result[y::down, x::across] = plain.view(">u2")
        start += length
    return result


def _image_data(raw: bytes) -> bytes:
    parts, at = [], 8
    while at + 12 <= len(raw):
        size, name = int.from_bytes(raw[at : at + 4], "big"), raw[at + 4 : at + 8]
        if name == b"IDAT":
            parts.append(raw[at + 8 : at + 8 + size])
        at += 12 + size
    return b"".join(parts)


def _unfiltered(filtered: NDArray[np.uint8], filters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes as they were before each row's filter: H x W x bytes of a pixel.

    Each byte depends on those to the left, above and above left; so the pixels of one anti-diagonal are computed
    together, and the diagonals in turn.
    """
    if filters.max() > 4:
        raise OSError(f"a row has the filter {filters.max()}")
    height, width, size = filtered.shape
    # A border of zeros above and at the left, as the format requires.
    result = np.zeros((height + 1, width + 1, size), np.int16)
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, above, corner = result[y + 1, x], result[y, x + 1], result[y, x]
        guess = left + above - corner
        distances = [abs(guess - left), abs(guess - above), abs(guess - corner)]
        nearest = np.where(
            (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
            left,
            np.where(distances[1] <= distances[2], above, corner),
        )
        predicted = np.choose(filters[y][:, None], [np.zeros_like(left), left, above, (left + above) // 2, nearest])
        result[y + 1, x + 1] = (filtered[y, x] + predicted) % 256
    return result[1:, 1:].astype(np.uint8)
