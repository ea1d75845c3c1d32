"""TIFF images and stacks."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.channels import full_range, grey
from mtbench.formats.content import content
from mtbench.formats.limits import VOLUME, check_announced, check_size, inflate, limit, too_large
from mtbench.formats.lzw import LZW, without_lzw

_PAGE = 2**13
"""The minimum size of an image of a stack in the count of pixels: at most 65,536 images by default."""
_NONE = 1
_DEFLATE = (8, 32946)
_OWN = (_NONE, 32773, *_DEFLATE)
"""The compressions that tifffile decodes without other packages; Pillow decodes the rest: JPEG, fax."""
_FLOAT_PREDICTOR = 3
_BITS = (1, 8, 16, 32, 64)
_SUSPICIOUS = 1 << 18
"""Size in bytes from which a compressed strip is checked for its decompressed size (at most 1032-fold)."""


def read_tiff(path: Path, *, label_map: bool) -> NDArray[Any]:
    """The grey values of the one image or stack in a TIFF file, upright according to its orientation tag.

    Args:
        label_map: take the indices of a palette image, and the unscaled values of one with fewer than 8 bits.

    Raises:
        DataError: several images that do not form a stack, images in other files, grey values that do not run from
            black to white, or a size beyond the limits or the file.
        OSError: the file is damaged.
    """
    # A truncated stack reads as a shorter one; tifffile only reports it in its log.
    errors = _Errors()
    log = logging.getLogger("tifffile")
    log.addHandler(errors)
    try:
        array, bits, orientation = _decoded(content(path), path, label_map=label_map)
    finally:
        log.removeHandler(errors)
    if errors.texts:
        raise OSError("; ".join(errors.texts))
    if bits == 1:
        array = array.astype(np.uint8) if label_map else full_range(array, 1)
    elif bits < 8 and label_map:
        array = array // (255 // (2**bits - 1))
    return _upright(array, orientation)


def _decoded(raw: bytes, path: Path, *, label_map: bool) -> tuple[NDArray[Any], int, int]:
    """Stored grey values, the bits of each, and the orientation that is not yet applied."""
    with tifffile.TiffFile(BytesIO(raw), name=str(path)) as file:
        _check_pages(file, path)
        first = file.pages.first
        if first.compression == LZW and first.predictor != _FLOAT_PREDICTOR:
            for page in file.pages:
                check_announced(sum(page.databytecounts), len(raw), str(path))
    if first.compression == LZW and first.predictor != _FLOAT_PREDICTOR:
        raw = without_lzw(raw, str(path))
    with tifffile.TiffFile(BytesIO(raw), name=str(path)) as file:
        series, page = _series(file, path, label_map=label_map), file.pages.first
        axes = str(series.axes)
        if page.compression in _OWN and page.predictor != _FLOAT_PREDICTOR and page.bitspersample in _BITS:
            for each in series.pages:
                _check_strips(each, path)
            array, orientation = series.asarray(), _orientation(page)
            channels = axes.index("S") if "S" in axes else None
        else:
            # Pillow rotates the image, and scales 2 and 4 bits to 8.
            array, orientation = _by_pillow(raw, page), 1
            channels = -1 if "S" in axes else None
        if channels is not None:
            array = grey(np.moveaxis(array, channels, -1), str(path))
        return array, page.bitspersample, orientation


def _check_pages(file: tifffile.TiffFile, path: Path) -> None:
    count = len(file.pages)
    # Refused by the number of images, before any of them is read.
    if count * _PAGE > max(limit(VOLUME), _PAGE):
        raise too_large(f"it holds {count:,} images, each of which counts as {_PAGE:,} values", VOLUME, str(path))
    total = sum(check_size(page.shape, str(path)) for page in file.pages)
    if total > limit(VOLUME):
        raise too_large(f"its {count:,} images hold {total:,} values", VOLUME, str(path))


def _series(file: tifffile.TiffFile, path: Path, *, label_map: bool) -> Any:
    if len(file.series) != 1:
        raise DataError(
            f"this TIFF holds {len(file.series)} image series",
            where=str(path),
            expected="one image or one stack",
        )
    series = file.series[0]
    kind = series.keyframe.photometric.name
    if kind not in ("MINISBLACK", "RGB", "YCBCR", *(["PALETTE"] if label_map else [])):
        raise DataError(
            f"this TIFF is of kind {kind}",
            where=str(path),
            expected="grey values, black at zero (MINISBLACK)",
            remedy="Convert it to greyscale, for example with Pillow or ImageMagick",
        )
    if any(page is None for page in series.pages):
        # The library would read them, or replace them by zeros.
        raise DataError(
            "some of its images are in other files (a multi-file OME-TIFF)",
            where=str(path),
            expected="all images in one file",
            remedy="Convert it to a single TIFF file",
        )
    return series


def _check_strips(page: Any, path: Path) -> None:
    """Check the strips or tiles of a page against the header."""
    size, file_size = page.keyframe, page.parent.filehandle.size
    announced = -(-int(np.prod(size.chunks)) * size.bitspersample // 8)
    if size.compression == _NONE:
        check_announced(int(size.nbytes) * size.bitspersample // (8 * size.dtype.itemsize), file_size, str(path))
    elif len(page.dataoffsets) < np.prod(size.chunked):
        raise DataError(
            f"it holds {len(page.dataoffsets)} strips or tiles",
            where=str(path),
            expected=f"{np.prod(size.chunked)}, as its header says",
        )
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if size.compression in _DEFLATE and count > _SUSPICIOUS:
            handle = page.parent.filehandle
            handle.seek(offset)
            if len(inflate(handle.read(count), announced + 1)) > announced:
                raise DataError("a strip holds more than its header announces", where=str(path))
        elif count and size.compression not in _DEFLATE:
            check_announced(offset + count, file_size, str(path))


def _by_pillow(raw: bytes, page: Any) -> NDArray[Any]:
    """N x H x W, H x W or with channels last, as stored; for compressions for which tifffile needs another package."""
    from PIL import Image, ImageSequence

    if page.bitspersample > 8 and page.samplesperpixel > 1:
        raise OSError(
            f"{page.bitspersample} bits with several channels in compression {page.compression.name} cannot be decoded;"
            " write it without compression, or with one channel"
        )
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, page.imagewidth * page.imagelength)
    with Image.open(BytesIO(raw), formats=["TIFF"]) as image:
        images = [np.asarray(frame).astype(page.dtype, copy=False) for frame in ImageSequence.Iterator(image)]
    return images[0] if len(images) == 1 else np.stack(images)


def _orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag is not None else 1


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The upright image: the tag says where its first row and column belong."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, -1, -2)
    if orientation in (3, 4, 7, 8):
        array = array[..., ::-1, :]
    if orientation in (2, 3, 6, 7):
        array = array[..., ::-1]
    return np.ascontiguousarray(array)


class _Errors(logging.Handler):
    """Collects the errors that a library logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
