"""Images and label maps as PNG data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178))
"""The palette of Okabe and Ito, safe for colour-blind readers; label k has colour k, cyclically."""


def image_uri(image: NDArray[np.uint8], longest: int) -> str:
    """A data URI of an H x W uint8 image, reduced if a side is longer than ``longest`` pixels."""
    picture = Image.fromarray(image)
    scale = longest / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return _uri(picture)


def difference_uri(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> str:
    """A data URI of ``image`` minus ``other``, H x W uint8: grey if equal, red where brighter, else blue."""
    change = (image.astype(np.int16) - other)[..., None] / 255
    ends = np.where(change > 0, (209, 67, 47), (42, 120, 200))
    return _uri(Image.fromarray((240 + (ends - 240) * np.minimum(np.abs(change) * 2, 1)).round().astype(np.uint8)))


def areas_uri(mask: NDArray[np.uint8], longest: int) -> str:
    """A data URI of a label map as translucent areas."""
    return _uri(_palette_image(_fit(mask, longest)), transparency=bytes([0] + [96] * 255))


def outlines_uri(mask: NDArray[np.uint8], longest: int) -> str:
    """A data URI of a label map as outlines, at a finer resolution than its pixels."""
    fine = _fit(mask, longest)
    fine = np.kron(fine, np.ones((factor := max(1, 256 // max(fine.shape)), factor), np.uint8))
    return _uri(_palette_image(np.where(edges(fine), fine, 0).astype(np.uint8)), transparency=0)


def edges(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of a label map with a neighbour of another label: H x W bool."""
    padded = np.pad(mask, 1)
    return np.asarray(
        (padded[:-2, 1:-1] != mask)
        | (padded[2:, 1:-1] != mask)
        | (padded[1:-1, :-2] != mask)
        | (padded[1:-1, 2:] != mask)
    )


def colour(label: int) -> tuple[int, int, int]:
    """The RGB colour of a mask value, from 1."""
    return COLOURS[(label - 1) % len(COLOURS)]


def _fit(mask: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    scale = longest / max(mask.shape)
    if scale >= 1:
        return mask
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _palette_image(mask: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(mask).convert("P")
    palette = [0, 0, 0]
    for label in range(1, 256):
        palette += colour(label)
    picture.putpalette(palette)
    return picture


def _uri(picture: Image.Image, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
