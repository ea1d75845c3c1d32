"""Pixel norm and the time embedding, as UNSB's generator and discriminators use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PixelNorm(nn.Module):
    """Scales each row to a root mean square of one."""

    def forward(self, z: Tensor) -> Tensor:
        """B x D to B x D."""
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


def sinusoids(step: Tensor, width: int) -> Tensor:
    """Sines and cosines of integer step indices, B to B x width, float32."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=step.device) * (-math.log(10000.0) / (half - 1)))
    angles = step.float()[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
