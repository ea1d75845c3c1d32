"""pix2pix's U-Net generator (Isola et al. 2017), with the original's state-dict names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench_plugins.translators._shared.patchgan import SLOPE

FEWEST = 5
"""Halvings that the original's U-Net has at least."""


class UnetGenerator(nn.Module):
    """Strided convolutions down to a few pixels and transposed ones up again, joined at each size; batch norm.

    Args:
        channels: of the output.
        ngf: filters of the first layer; doubled three times.
        n_downs: halvings, at least 5; the originals have 8 (``unet_256``) or 7.
        inputs: channels of the input, if it has another number.
        dropout: of one half in the three inner levels below the widest, as the original trains.
    """

    def __init__(
        self,
        channels: int = 1,
        ngf: int = 64,
        n_downs: int = 8,
        *,
        inputs: int | None = None,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        widths = [ngf * min(2**level, 8) for level in range(n_downs)]
        block: nn.Module | None = None
        for level in reversed(range(1, n_downs)):
            drop = dropout and block is not None and level >= 4
            block = _Level(widths[level - 1], widths[level], block, drop)
        assert block is not None
        outer = nn.Sequential(
            nn.Conv2d(inputs or channels, ngf, 4, 2, 1, bias=False),
            block,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * ngf, channels, 4, 2, 1),
            nn.Tanh(),
        )
        self.model = nn.ModuleDict({"model": outer})

    def forward(self, image: Tensor) -> Tensor:
        """float32 B x ``inputs`` x H x W to B x ``channels`` x H x W, both in [-1, 1].

        H and W must be multiples of 2 ** ``n_downs``.
        """
        out: Tensor = self.model["model"](image)
        return out


class _Level(nn.Module):
    """Half the size, the level below, the full size again; the input stands beside the result."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, dropout: bool) -> None:
        super().__init__()
        down = nn.Conv2d(outer, inner, 4, 2, 1, bias=False)
        up = nn.ConvTranspose2d(2 * inner if below is not None else inner, outer, 4, 2, 1, bias=False)
        middle = [nn.BatchNorm2d(inner), below] if below is not None else []
        # The first entry stands for the leaky ReLU: names count it.
        layers = [nn.Identity(), down, *middle, nn.ReLU(), up, nn.BatchNorm2d(outer)]
        self.model = nn.Sequential(*layers, *([nn.Dropout(0.5)] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        """B x outer x h x w to B x 2 outer x h x w."""
        # The original applies it in place, so that what stands beside the result is the activated map.
        x = F.leaky_relu(x, SLOPE)
        return torch.cat([x, self.model(x)], dim=1)
