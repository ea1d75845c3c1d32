"""The images of each step: pure functions of (seed, epoch, position), so workers and interruptions change nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtbench.compute.seeds import generator
from mtbench.data import ImageSet
from mtbench.errors import DataError
from mtbench.training.augment import Augmentation

Partner = Callable[[np.random.Generator, int], int]


@lru_cache(maxsize=8)
def order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """A random permutation of 0..n-1, the same for the same (seed, epoch, n). Read-only, int64."""
    shuffled = generator(seed, "order", epoch).permutation(n)
    shuffled.setflags(write=False)
    return shuffled


class Sampler(Protocol):
    """The source of batches. ``batch`` must be pure: it may be called ahead of time, from another
    thread."""

    def __len__(self) -> int:
        """Positions in an epoch."""

    def batch(self, seed: int, epoch: int, positions: Sequence[int]) -> dict[str, Tensor]:
        """CPU tensors by name, with ``positions`` as the first axis."""


class UnpairedSampler:
    """Two domains without correspondence, drawn as in CycleGAN.

    An epoch has max(|first|, |second|) positions. The first image is taken by shuffled index (wrapping round if its
    domain is smaller), the second at random. ``batch`` gives "source" and "target", float32 B x C x H x W in [0, 1]
    (the target has one channel), and with ``masks`` also "source_mask" and "target_mask" in the masks' dtype.

    Args:
        first, second: the two domains.
        augment: applied to each image (and its mask) with separate draws.
        masks: one array N x H x W per domain, in the order of its images (label maps, coarse masks).
        partner: maps a random generator and the first image's index to the second image's index (default: uniform).
        length: positions in an epoch, instead of the larger domain's size.

    Raises:
        DataError: a domain has no image, or masks differ from the images in number or size.
    """

    def __init__(
        self,
        first: ImageSet,
        second: ImageSet,
        *,
        augment: Augmentation | None = None,
        masks: tuple[NDArray[Any], NDArray[Any]] | None = None,
        partner: Partner | None = None,
        length: int | None = None,
    ) -> None:
        first_masks, second_masks = masks or (None, None)
        self._first = _Images(first, first_masks, augment)
        self._second = _Images(second, second_masks, augment)
        self._partner = partner or (lambda rng, index: int(rng.integers(len(second))))
        self._length = length or max(len(first), len(second))

    def __len__(self) -> int:
        return self._length

    def batch(self, seed: int, epoch: int, positions: Sequence[int]) -> dict[str, Tensor]:
        """See the class."""
        shuffled = order(seed, epoch, self._length)
        first = [int(shuffled[p]) % len(self._first) for p in positions]
        second = [self._partner(generator(seed, "partner", epoch, p), i) for p, i in zip(positions, first, strict=True)]
        return {
            **self._first.tensors("source", first, seed, epoch, positions),
            **self._second.tensors("target", second, seed, epoch, positions),
        }


class AlignedSampler:
    """Pairs of slices that show the same anatomy in both domains, for paired translators.

    An epoch has as many positions as there are pairs. ``batch`` gives "source", float32 B x C x H x W in [0, 1], and
    "target", B x 1 x H x W.

    Args:
        pairs: source slices and their truth in the same order, as ``TrainingData.pairs()`` gives them.
        augment: applied to both images of a pair with the same draws; they come as the channels of one image.

    Raises:
        DataError: there is no pair, or the two sides differ in number or size.
    """

    def __init__(self, pairs: tuple[ImageSet, ImageSet], *, augment: Augmentation | None = None) -> None:
        self._sides = tuple(_Images(side, None, None) for side in pairs)
        source, target = pairs
        if (len(source), source.size) != (len(target), target.size):
            raise DataError(
                f"{len(source)} source slices of {source.size} and {len(target)} target slices of {target.size}",
                where=source.task.dataset,
                expected="one target slice of the same size for each source slice",
            )
        self._augment = augment

    def __len__(self) -> int:
        return len(self._sides[0])

    def batch(self, seed: int, epoch: int, positions: Sequence[int]) -> dict[str, Tensor]:
        """See the class."""
        shuffled = order(seed, epoch, len(self))
        indices = [int(shuffled[p]) for p in positions]
        source, target = (side.tensors("image", indices, seed, epoch, positions)["image"] for side in self._sides)
        both = list(torch.cat([source, target], dim=1))
        if self._augment is not None:
            for k, position in enumerate(positions):
                both[k], _ = self._augment(both[k], None, generator(seed, "augment", "pair", epoch, position))
        stacked = torch.stack(both)
        return {"source": stacked[:, :-1], "target": stacked[:, -1:]}


class PairedSampler:
    """Images of one domain, each with its mask.

    An epoch has as many positions as there are images. ``batch`` gives "image", float32 B x 1 x H x W in
    [0, 1], and "image_mask" in the masks' dtype, B x H x W.

    Args:
        images: the slices.
        masks: N x H x W in the order of ``images``; by default the set's own label maps.
        augment: applied to each image and its mask together.
        length: positions in an epoch, instead of the number of images.

    Raises:
        DataError: there is no image or no mask, or masks differ from the images in number or size.
    """

    def __init__(
        self,
        images: ImageSet,
        masks: NDArray[Any] | None = None,
        *,
        augment: Augmentation | None = None,
        length: int | None = None,
    ) -> None:
        masks = images.masks if masks is None else masks
        if masks is None:
            raise DataError(f"the {images.domain} slices of '{images.task.dataset}' have no masks to train on")
        self._images = _Images(images, masks, augment)
        self._length = length or len(images)

    def __len__(self) -> int:
        return self._length

    def batch(self, seed: int, epoch: int, positions: Sequence[int]) -> dict[str, Tensor]:
        """See the class."""
        shuffled = order(seed, epoch, self._length)
        indices = [int(shuffled[p]) % len(self._images) for p in positions]
        return self._images.tensors("image", indices, seed, epoch, positions)


class _Images:
    def __init__(self, images: ImageSet, masks: NDArray[Any] | None, augment: Augmentation | None) -> None:
        where = f"the {images.split} slices of the {images.domain} domain of '{images.task.dataset}'"
        if not len(images):
            raise DataError("it has no images to train on", where=where)
        if masks is not None and masks.shape != (len(images), *images.size):
            raise DataError(
                f"masks of shape {masks.shape} do not fit images of shape {images.images.shape}",
                where=where,
            )
        self._set, self._masks, self._augment = images, masks, augment

    def __len__(self) -> int:
        return len(self._set)

    def tensors(
        self, name: str, indices: Sequence[int], seed: int, epoch: int, positions: Sequence[int]
    ) -> dict[str, Tensor]:
        images = list(self._set.tensor(indices))
        masks = [None if self._masks is None else torch.from_numpy(np.array(self._masks[i])) for i in indices]
        if self._augment is not None:
            for k, position in enumerate(positions):
                rng = generator(seed, "augment", name, epoch, position)
                images[k], masks[k] = self._augment(images[k], masks[k], rng)
        tensors = {name: torch.stack(images)}
        if self._masks is not None:
            tensors[f"{name}_mask"] = torch.stack([m for m in masks if m is not None])
        return tensors
