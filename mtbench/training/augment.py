"""Random changes of training images, each a pure function of its random generator.

An augmentation is a callable (image, mask, rng) -> (image, mask): image float32 C x H x W in [0, 1]; mask
... x H x W of any dtype, or ``None``, moved exactly as its image is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[Tensor, Tensor | None]
Augmentation = Callable[[Tensor, Tensor | None, np.random.Generator], Pair]


def chain(*augmentations: Augmentation) -> Augmentation:
    """One after another; none: unchanged images."""

    def apply(image: Tensor, mask: Tensor | None, rng: np.random.Generator) -> Pair:
        for augmentation in augmentations:
            image, mask = augmentation(image, mask, rng)
        return image, mask

    return apply


def flip(p: float = 0.5) -> Augmentation:
    """Left-right mirror image with probability ``p``."""

    def apply(image: Tensor, mask: Tensor | None, rng: np.random.Generator) -> Pair:
        if rng.random() < p:
            return image.flip(-1), None if mask is None else mask.flip(-1)
        return image, mask

    return apply


def pad_crop(pad: int) -> Augmentation:
    """Shift by up to ``pad`` pixels each way, filled with black (mask: 0)."""

    def apply(image: Tensor, mask: Tensor | None, rng: np.random.Generator) -> Pair:
        top, left = (int(n) for n in rng.integers(2 * pad + 1, size=2))
        height, width = image.shape[-2:]

        def moved(x: Tensor) -> Tensor:
            return F.pad(x, (pad, pad, pad, pad))[..., top : top + height, left : left + width]

        return moved(image), None if mask is None else moved(mask)

    return apply


def resize_crop(load: int | tuple[int, int], crop: int | tuple[int, int]) -> Augmentation:
    """Resize to ``load`` and cut out a random ``crop``, as CycleGAN does with 286 and 256.

    Images bicubic with antialiasing (the aspect ratio is not kept), clamped to [0, 1]; masks nearest.

    Args:
        load: height and width after resizing; one number for both.
        crop: height and width of what is cut out; at most ``load``.

    Raises:
        ValueError: ``crop`` is larger than ``load``.
    """
    (high, wide), (height, width) = ((n, n) if isinstance(n, int) else n for n in (load, crop))
    if height > high or width > wide:
        raise ValueError(f"resize_crop cannot cut {height} x {width} out of {high} x {wide}")

    def apply(image: Tensor, mask: Tensor | None, rng: np.random.Generator) -> Pair:
        top, left = int(rng.integers(high - height + 1)), int(rng.integers(wide - width + 1))
        if image.shape[-2:] != (high, wide):
            bigger = F.interpolate(image[None], (high, wide), mode="bicubic", antialias=True, align_corners=False)
            image = bigger[0].clamp(0.0, 1.0)
        if mask is not None:
            rows = _nearest(mask.shape[-2], high)[top : top + height]
            columns = _nearest(mask.shape[-1], wide)[left : left + width]
            mask = mask[..., rows[:, None], columns]
        return image[..., top : top + height, left : left + width], mask

    return apply


def _nearest(old: int, new: int) -> Tensor:
    """For each of ``new`` pixels, the one of ``old`` whose centre is nearest."""
    return ((torch.arange(new, dtype=torch.float64) + 0.5) * (old / new)).floor().long().clamp(max=old - 1)
