"""A small task with known anatomy: two organs on a textured ground, seen by two scanners, with masks and truth.

Generated from the names of its slices, so that all checks, and all machines, see the same pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.seeds import generator
from mtbench.data import Domain, ImageSet, Slice, Split, Task, TrainingData, encode

TASK = Task(
    "conformance",
    source="scanner A",
    target="scanner B",
    labels={1: "body", 2: "core"},
    masks=frozenset({"source", "target", "paired"}),
    paired=True,
    paired_training=True,
)
SEVERAL = replace(TASK, channels=("plain", "dark", "inverted"))
"""The task with several source channels."""
SIZE = (64, 64)
ODD = (61, 47)
Depth = Literal["uint8", "uint16", "float32"]

_CONTRAST = {"source": (0.15, 0.45, 0.8), "target": (0.1, 0.7, 0.35), "paired": (0.1, 0.7, 0.35)}
"""The grey value of ground, body and core."""


def image_set(
    domain: Domain = "source",
    split: Split = "test",
    count: int = 6,
    *,
    size: tuple[int, int] = SIZE,
    depth: Depth = "uint8",
    blank: bool = False,
) -> ImageSet:
    """Slices with masks, two per patient.

    Args:
        domain, split: of the slices; the "paired" set holds the truth of the source slices of the same split.
        count: how many slices.
        size: height and width.
        depth: the stored type.
        blank: all-zero images, with masks of background only.
    """
    anatomy: Domain = "source" if domain == "paired" else domain
    images, masks, slices = [], [], []
    for i in range(count):
        patient = f"{anatomy}-{split}-{i // 2}"
        name = f"{patient}/{i % 2:03d}"
        mask = np.zeros(size, np.uint8) if blank else _mask(name, size)
        grey = np.array(_CONTRAST[domain])[mask]
        texture = generator("conformance", name, domain).normal(0, 0.03, size)
        images.append(np.zeros(size) if blank else np.clip(grey + texture, 0, 1))
        masks.append(mask)
        slices.append(
            Slice(name, patient, patient, i % 2, (1.0, 1.0), 3.0, (0.0, 100.0), file=f"{patient}/{i % 2:03d}.png")
        )
    return ImageSet(
        encode(np.array(images).reshape(count, *size), depth),
        tuple(slices),
        np.array(masks, np.uint8).reshape(count, *size),
        TASK,
        domain,
        split,
    )


def _mask(name: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An ellipse with a smaller one in it, at a position that depends on the slice."""
    rng = generator("conformance", name)
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, length) for length in size), indexing="ij")
    y, x = rng.uniform(-0.15, 0.15, 2)
    height, width = rng.uniform(0.55, 0.75, 2)
    distance = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2
    mask: NDArray[np.uint8] = ((distance < 1).astype(np.uint8) + (distance < 0.15)).astype(np.uint8)
    return mask


def training_data(domains: tuple[Domain, ...] = ("source", "target"), *, masks: bool = True) -> TrainingData:
    """Eight training and four validation slices of each of the ``domains``."""
    sets: dict[str, ImageSet] = {}
    for domain in domains:
        sets[f"{domain}_train"] = image_set(domain, "train", 8)
        sets[f"{domain}_validation"] = image_set(domain, "validation", 4)
    if not masks:
        sets = {name: _bare(images) for name, images in sets.items()}
    return TrainingData(TASK, **sets)


def with_channels(images: ImageSet) -> ImageSet:
    """The slices with a second and a third channel: the image darker, and inverted."""
    values = images.floats()[:, 0]
    stacked = encode(np.stack([values, values / 2, 1 - values], axis=1), images.images.dtype.name)
    return replace(images, images=stacked, task=SEVERAL)


def _bare(images: ImageSet) -> ImageSet:
    return ImageSet(images.images, images.slices, None, images.task, images.domain, images.split)
