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
from mtbench.stress.operators import OPERATORS
from mtbench.stress.pixels import Pixels

Floats = NDArray[np.float32]


STEPS: Mapping[str, tuple[str, Callable[[int], float]]] = {
    "noise": ("noise", lambda amount: 0.08 * amount),
    "blur": ("blur", lambda amount: 1.4 * amount),
    "shift": ("shift", lambda amount: 3.0 * amount),
    "contrast": ("contrast", lambda amount: 1 - 0.5**amount),
}
"""By the word in a metric's spec: the operator, and its strength after a number of steps; "masks" moves the predicted
masks."""


def damaged(images: ImageSet, how: str, amount: int) -> ImageSet:
    """An image set after this many steps of a damage."""
    name, strength = STEPS[how]
    apply = OPERATORS[name].of_slice
    assert apply is not None
    values = [
        apply(Pixels(image), strength(amount), generator("damage", record.slice_id)).image[0]
        for image, record in zip(images.floats(), images.slices, strict=True)
    ]
    return replace(images, images=encode(np.stack(values), images.images.dtype.name))


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
