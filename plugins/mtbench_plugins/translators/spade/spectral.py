"""A convolution with spectral norm whose state has the names that SPADE's files use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-12


class SpectralConv2d(nn.Module):
    """``Conv2d`` with its weight divided by its largest singular value (Miyato et al. 2018).

    One power iteration per forward pass in training; in evaluation the stored vectors are used. PyTorch's own
    parametrisation has other names and another state, so an official file would need conversion.

    Args: as ``torch.nn.Conv2d``.
    """

    bias: nn.Parameter | None
    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, channels: int, width: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        plain = nn.Conv2d(channels, width, kernel, bias=bias)
        self.stride, self.padding = stride, padding
        self.weight_orig = plain.weight
        self.bias = None if plain.bias is None else nn.Parameter(plain.bias)
        self.register_buffer("weight_u", F.normalize(torch.randn(width), dim=0, eps=EPSILON))
        self.register_buffer("weight_v", F.normalize(torch.randn(channels * kernel**2), dim=0, eps=EPSILON))
        self._cache: tuple[tuple[Any, ...], Tensor] | None = None

    def weight(self) -> Tensor:
        """The normalised weight; in training after one power iteration. In float32 under autocast, too.

        In evaluation without gradients it is cached until the tensors it depends on change.
        """
        if self.training or torch.is_grad_enabled():
            self._cache = None
            return self.normalised()
        # Tensors created in inference mode have no version, and are never trained.
        parts = (self.weight_orig, self.weight_u, self.weight_v)
        state = tuple((t.data_ptr(), None if t.is_inference() else t._version) for t in parts)
        if self._cache is None or self._cache[0] != state:
            self._cache = (state, self.normalised())
        return self._cache[1]

    def normalised(self) -> Tensor:
        """The normalised weight, recomputed."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            return self._weight()

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x h x w to B x width x h' x w'."""
        return F.conv2d(x, self.weight(), self.bias, self.stride, self.padding)

    def _weight(self) -> Tensor:
        matrix = self.weight_orig.flatten(1)
        if self.training:
            with torch.no_grad():
                self.weight_v.copy_(F.normalize(matrix.t() @ self.weight_u, dim=0, eps=EPSILON))
                self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0, eps=EPSILON))
        # Copies, because a second forward pass before the backward pass changes the vectors in place.
        u, v = self.weight_u.clone(), self.weight_v.clone()
        return self.weight_orig / torch.dot(u, matrix @ v)
