"""TIFF images and stacks."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content


def read_tiff(path: Path, *, palette: bool) -> tuple[NDArray[Any], int | None]:
    """The values of the one image or stack in a TIFF file, and which axis holds colour channels, if any.

    Args:
        palette: take the indices of a palette image.

    Raises:
        DataError: several images that are no stack, images in other files, or grey values that do not run from black
            to white.
        OSError: the file is damaged.
    """
    # A stack that was cut off reads as a shorter one; tifffile says so in its log only.
    errors = _Errors()
    log = logging.getLogger("tifffile")
    log.addHandler(errors)
    try:
        with tifffile.TiffFile(BytesIO(content(path)), name=str(path)) as file:
            if len(file.series) != 1:
                raise DataError(
                    f"this TIFF holds {len(file.series)} image series",
                    where=str(path),
                    expected="one image or one stack",
                )
            series = file.series[0]
            kind = series.keyframe.photometric.name
            if kind == "MINISWHITE" or (kind == "PALETTE" and not palette):
                raise DataError(
                    f"this TIFF is of kind {kind}", where=str(path), expected="grey values, black at zero (MINISBLACK)"
                )
            if any(page is None for page in series.pages):
                # The library would read them, or put zeros in their place.
                raise DataError(
                    "some of its images are in other files (a multi-file OME-TIFF)",
                    where=str(path),
                    expected="all images in one file",
                    remedy="Convert it to a single TIFF file",
                )
            array, axes = series.asarray(), str(series.axes)
    finally:
        log.removeHandler(errors)
    if errors.texts:
        raise OSError("; ".join(errors.texts))
    return array, axes.index("S") if "S" in axes else None


class _Errors(logging.Handler):
    """Collects what a library reports as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
