"""ContourDiff's augmentation: an image and its contours are shifted, mirrored and deformed alike."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mtbench.training import Augmentation, chain, flip, pad_crop

SIZE, PAD = 256, 32
"""The original's image side, and the pixels that its crop moves at most."""
SEEN = 50 / 255
"""Deformed contours count above this value."""


def augmentation(size: tuple[int, int], *, shift: bool, mirror: bool, affine: float) -> Augmentation:
    """The original's augmentation.

    Args:
        size: height and width of the images.
        shift: whether images are padded by an eighth of their side and cropped at random.
        mirror: whether half of the images are mirrored.
        affine: the share of images that is stretched, rotated, moved, scaled and sheared.
    """
    pad = min(size) * PAD // SIZE
    steps = [*([pad_crop(pad)] if shift else []), *([flip()] if mirror else []), *([deform(affine)] if affine else [])]
    return chain(*steps)


def deform(p: float) -> Augmentation:
    """With probability ``p``: scale each axis by 0.8 to 1.2, then rotate, move, scale and shear.

    By up to 5 degrees, 0.1 of each side, 0.9 to 1.1, and 0.9 to 1.1 degrees. Outside is black.
    """

    def apply(image: Tensor, mask: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        if rng.random() >= p:
            return image, mask
        height, width = image.shape[-2:]
        stretch = np.diag(rng.uniform(0.8, 1.2, 2))
        angle, scale, shear = rng.uniform(-5, 5), rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1)
        move = (round(rng.uniform(-0.1, 0.1) * width), round(rng.uniform(-0.1, 0.1) * height))
        turn = inverse(angle, scale, shear)

        def moved(x: Tensor) -> Tensor:
            return warp(warp(x, stretch, (0, 0), "bilinear"), turn, move, "nearest")

        if mask is None:
            return moved(image), None
        return moved(image), (moved(mask[None].float())[0] > SEEN).to(mask.dtype)

    return apply


def inverse(angle: float, scale: float, shear: float) -> NDArray[np.floating[Any]]:
    """From places in the result to places in the image, 2 x 2 in (x, y), as ``torchvision`` defines an affine map.

    Args:
        angle: in degrees.
        scale: of both axes.
        shear: of the x axis, in degrees.
    """
    a, s = math.radians(angle), math.tan(math.radians(shear))
    forward = scale * np.array(
        [[math.cos(a), -math.cos(a) * s - math.sin(a)], [math.sin(a), -math.sin(a) * s + math.cos(a)]]
    )
    return np.linalg.inv(forward)


def warp(
    x: Tensor,
    matrix: NDArray[np.floating[Any]],
    move: tuple[int, int],
    mode: Literal["bilinear", "nearest"],
) -> Tensor:
    """C x H x W float32 images through a linear map about their centre; black outside.

    Args:
        x: the images.
        matrix: from places in the result to places in the image, in pixels (x, y).
        move: pixels (x, y) by which the image is moved first.
        mode: of interpolation.
    """
    height, width = x.shape[-2:]
    right, down = ((n - 1) / 2 for n in (width, height))
    columns, rows = torch.arange(width) - right - move[0], torch.arange(height) - down - move[1]
    (a, b), (c, d) = matrix.tolist()
    across = (a * columns[None, :] + b * rows[:, None]) / right
    along = (c * columns[None, :] + d * rows[:, None]) / down
    grid = torch.stack([across, along], dim=-1)[None]
    return F.grid_sample(x[None], grid, mode=mode, padding_mode="zeros", align_corners=True)[0]
