"""LZW-compressed TIFF files, as written by OpenCV and many others, converted to files that tifffile reads.

tifffile needs another package for LZW; Pillow includes libtiff, which supports it, but reads 16-bit colour as 8 bits.
So each strip is decoded as bytes, and tifffile interprets them according to the header.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import tifffile

LZW = 5
_DEFLATE = 8


def without_lzw(raw: bytes, name: str) -> bytes:
    """The TIFF file ``raw`` with its LZW strips and tiles decoded; sizes must have been checked.

    Raises:
        OSError: they are damaged.
    """
    buffer = BytesIO(raw)
    with tifffile.TiffFile(buffer, mode="r+", name=name) as file:
        pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage) and page.compression == LZW]
        for page in pages:
            offsets, counts = [], []
            for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                strip = b""
                if count:
                    # Stored uncompressed in a deflate stream. Without any compression tifffile would not undo the
                    # predictor.
                    strip = zlib.compress(_strip(raw[offset : offset + count], _size(page, index)), 0)
                offsets.append(buffer.seek(0, 2))
                counts.append(len(strip))
                buffer.write(strip)
            kind = "Tile" if page.is_tiled else "Strip"
            page.tags["Compression"].overwrite(_DEFLATE)
            page.tags[f"{kind}Offsets"].overwrite(offsets, dtype="I")
            page.tags[f"{kind}ByteCounts"].overwrite(counts, dtype="I")
    return buffer.getvalue()


def _size(page: Any, index: int) -> int:
    """Bytes of a strip or tile; the last strip of a plane may have fewer rows."""
    rows, width, samples = page.chunks[-3:] if len(page.chunks) > 2 else (*page.chunks, 1)
    if not page.is_tiled:
        first = index % -(-page.imagelength // rows) * rows
        rows = min(rows, page.imagelength - first)
    return int(rows * -(-width * samples * page.bitspersample // 8))


def _strip(data: bytes, size: int) -> bytes:
    """``size`` bytes: libtiff reads them as an image of one row."""
    from PIL import Image

    tags = {256: size, 257: 1, 258: 8, 259: LZW, 262: 1, 273: 0, 277: 1, 278: 1, 279: len(data)}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with Image.open(BytesIO(header + data), formats=["TIFF"]) as image:
        return image.tobytes()
