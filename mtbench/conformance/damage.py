"""Damages of images and masks that a metric should detect, and features in place of a metric's network if it is not
installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.seeds import generator
from mtbench.conformance import tasks
from mtbench.data import ImageSet, encode

Floats = NDArray[np.float32]


def noise(images: Floats, amount: int) -> Floats:
    """Gaussian noise with a standard deviation of 0.08 per step."""
    return (images + 0.08 * amount * generator("damage").normal(size=images.shape)).astype(np.float32)


def blur(images: Floats, amount: int) -> Floats:
    """A 5 x 5 mean filter per step."""
    for _ in range(amount):
        padded = np.pad(images, ((0, 0), (2, 2), (2, 2)), mode="edge")
        height, width = images.shape[1:]
        images = np.mean([padded[:, i : i + height, j : j + width] for i in range(5) for j in range(5)], axis=0)
    return images.astype(np.float32)


def shift(images: Floats, amount: int) -> Floats:
    """A shift to the right by three pixels per step."""
    return np.roll(images, 3 * amount, axis=2)


def contrast(images: Floats, amount: int) -> Floats:
    """Half of the contrast per step."""
    return (0.5 + (images - 0.5) * 0.5**amount).astype(np.float32)


DAMAGE: Mapping[str, Callable[[Floats, int], Floats]] = {
    "noise": noise,
    "blur": blur,
    "shift": shift,
    "contrast": contrast,
}
"""By the word in a metric's spec; "masks" moves the predicted masks."""


def damaged(images: ImageSet, how: str, amount: int) -> ImageSet:
    """An image set after this many steps of a damage."""
    values = DAMAGE[how](images.floats()[:, 0], amount) if amount else images.floats()[:, 0]
    return replace(images, images=encode(values, images.images.dtype.name))


def moved(masks: NDArray[np.uint8], amount: int) -> NDArray[np.uint8]:
    """Masks shifted to the right by three pixels per step."""
    return np.roll(masks, 3 * amount, axis=2)


def stand_in(images: ImageSet) -> Floats:
    """Positive features of images, N x 24, if the network of a metric is not installed: seeded projections of the means
    and spreads of tiles.
    """
    side = 8
    values = images.floats()[:, 0]
    height, width = (length // side * side for length in values.shape[1:])
    tiles = values[:, :height, :width].reshape(len(values), side, height // side, side, width // side)
    means, spreads = tiles.mean(axis=(2, 4)), tiles.std(axis=(2, 4))
    local = np.concatenate([means, 5 * spreads], axis=1).reshape(len(values), -1)
    weights = generator("stand-in features").uniform(size=(local.shape[1], 24)) / side
    return np.asarray(local @ weights, np.float32)


def set_of(domain: str, count: int, size: tuple[int, int]) -> ImageSet:
    """The slices on which metrics are tested."""
    return tasks.image_set(domain, "test", count, size=size)  # type: ignore[arg-type]  # one of the domains
