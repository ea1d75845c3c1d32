"""Contact sheets: a page of slices with the outlines of their masks, for inspection before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mtbench.data import ImageSet, decode

COLUMNS, ROWS, TILE = 6, 4, 192
_COLOURS = ((255, 80, 80), (80, 220, 120), (90, 160, 255), (255, 200, 60), (220, 110, 255))
_CAPTION = 14


def contact_sheet(images: ImageSet, path: Path) -> None:
    """Write a PNG with up to 24 images, spread over patients and over each patient's slices.

    Each tile is an image, or one channel of it, with the outline of each label in its colour, and its slice id below;
    the first line is the legend of the colours. ``images`` must not be empty.
    """
    channels = images.channels
    indices = [(index, channel) for index in spread(images, COLUMNS * ROWS // channels) for channel in range(channels)]
    columns = min(COLUMNS // channels * channels or channels, len(indices))
    rows = -(-len(indices) // columns)
    sheet = Image.new("RGB", (columns * TILE, _CAPTION + rows * (TILE + _CAPTION)))
    draw = ImageDraw.Draw(sheet)
    x = 2
    for text, colour in [(f"{images.task.dataset}, {images.domain} {images.split}", (255, 255, 255)), *_legend(images)]:
        draw.text((x, 1), text, fill=colour)
        x += int(draw.textlength(text)) + 12
    for place, (index, channel) in enumerate(indices):
        left, top = place % columns * TILE, _CAPTION + place // columns * (TILE + _CAPTION)
        mask = None if images.masks is None else np.asarray(images.masks[index])
        image = np.asarray(images.images[index]).reshape(channels, *images.size)[channel]
        sheet.paste(Image.fromarray(_tile(image, mask, images)), (left, top))
        name = f"{images.task.channels[channel]} " if channels > 1 else ""
        draw.text((left + 2, top + TILE), name + images.slices[index].slice_id[len(name) - 30 :], fill=(200, 200, 200))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def spread(images: ImageSet, maximum: int = COLUMNS * ROWS) -> list[int]:
    """Up to ``most`` positions: as many patients as possible, with slices spread over each."""
    indices_of: dict[str, list[int]] = {}
    for index, patient in enumerate(images.patients):
        indices_of.setdefault(patient, []).append(index)
    patients = [list(indices_of.values())[i] for i in _evenly(len(indices_of), maximum)]
    each, remainder = divmod(maximum, len(patients))
    positions = []
    for place, indices in enumerate(patients):
        positions += [indices[i] for i in _evenly(len(indices), each + (place < remainder))]
    return positions


def _evenly(count: int, maximum: int) -> list[int]:
    """Up to ``most`` of 0..count-1, each in the middle of one of equal parts."""
    parts = min(count, maximum)
    return [int((i + 0.5) * count / parts) for i in range(parts)]


def _legend(images: ImageSet) -> list[tuple[str, tuple[int, int, int]]]:
    if images.masks is None:
        return [("no masks", (160, 160, 160))]
    return [(name, _COLOURS[i % len(_COLOURS)]) for i, name in enumerate(images.task.labels.values())]


def _tile(image: NDArray[Any], mask: NDArray[Any] | None, images: ImageSet) -> NDArray[np.uint8]:
    height, width = image.shape
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = Image.fromarray(np.rint(decode(image) * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    tile[: size[1], : size[0]] = np.asarray(grey)[..., None]
    if mask is not None:
        large = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        for i, value in enumerate(images.task.labels):
            tile[: size[1], : size[0]][_outline(large == value)] = _COLOURS[i % len(_COLOURS)]
    return tile


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(inside & ~core)
