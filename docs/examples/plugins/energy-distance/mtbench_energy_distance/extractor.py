"""Histograms of gradient directions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

import mtbench


class GradientHistogram:
    """The extractor ``gradient-histogram``; the parameters are described in its declaration."""

    def __init__(self, bins: int, cells: int) -> None:
        self.bins, self.cells = bins, cells

    def extract(self, images: Tensor, context: mtbench.Context) -> Mapping[str, Tensor]:
        """``histogram``, float32, B x (bins * cells * cells), of images float32, B x 1 x H x W in [0, 1].

        Each pixel's gradient adds its length to the two nearest of ``bins`` directions in [0, pi).
        """
        padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
        down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        length = (across.square() + down.square()).sqrt()
        place = torch.atan2(down, across).remainder(math.pi) * (self.bins / math.pi)
        centres = torch.arange(self.bins, device=images.device, dtype=images.dtype).view(1, -1, 1, 1)
        # Distance on the circle, so that the last direction is a neighbour of the first.
        apart = (place - centres + self.bins / 2).remainder(self.bins) - self.bins / 2
        shares = (1 - apart.abs()).clamp(min=0) * length
        return {"histogram": functional.adaptive_avg_pool2d(shares, self.cells).flatten(1)}
