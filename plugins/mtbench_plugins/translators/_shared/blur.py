"""Halving and doubling of images by a blur (Zhang 2019), as CUT and UNSB do it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench_plugins.translators._shared.layers import reflect


def _kernel(taps: tuple[float, ...], gain: float, channels: int) -> Tensor:
    row = torch.tensor(taps)
    kernel = torch.outer(row, row)
    return (kernel * (gain / kernel.sum())).expand(channels, 1, -1, -1).clone()


class BlurDown(nn.Module):
    """Halves an image after a 3 x 3 binomial blur (Zhang 2019); odd sizes round up."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", _kernel((1.0, 2.0, 1.0), 1.0, channels))

    def forward(self, x: Tensor) -> Tensor:
        """B x C x h x w to B x C x ceil(h/2) x ceil(w/2)."""
        return F.conv2d(reflect(x, 1), self.filt, stride=2, groups=x.shape[1])


class BlurUp(nn.Module):
    """Doubles an image with a 4 x 4 binomial kernel."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", _kernel((1.0, 3.0, 3.0, 1.0), 4.0, channels))

    def forward(self, x: Tensor) -> Tensor:
        """B x C x h x w to B x C x 2h x 2w."""
        if not torch.is_grad_enabled():
            # Equal weights and borders, and up to four times as fast, but its gradient on CUDA is not deterministic.
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.convolved(x)

    def convolved(self, x: Tensor) -> Tensor:
        """The same by a transposed convolution, as in the released code."""
        # Replicated borders; torch's own have no deterministic gradient on CUDA, and torch.compile does not support it.
        padded = torch.cat([x[..., :1, :], x, x[..., -1:, :]], dim=2)
        padded = torch.cat([padded[..., :1], padded, padded[..., -1:]], dim=3)
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=x.shape[1])
