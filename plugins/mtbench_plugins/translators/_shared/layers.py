"""Norms and reflected borders that keep channels-last on a GPU, with gradients that repeat bit by bit.

torch's own write NCHW there, so every convolution after them copies its input, and the gradient of its padding sums in
no fixed order. On a CPU torch's own are used, because they are faster.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPSILON = 1e-5
Norm = Literal["instance", "batch"]


def instance_norm(x: Tensor) -> Tensor:
    """Each map of B x C x H x W with mean 0 and variance 1 (Ulyanov et al. 2016), in the layout of the input.

    Mean and variance are taken in float32, whatever the dtype.
    """
    if x.device.type == "cpu":
        return F.instance_norm(x)
    normalised: Tensor = _InstanceNorm.apply(x)
    return normalised


def reflect(x: Tensor, pad: int) -> Tensor:
    """B x C x H x W with ``pad`` more pixels on each side, mirrored at the border; ``pad`` is less than H and W."""
    if x.device.type == "cpu":
        return F.pad(x, (pad,) * 4, mode="reflect")
    for axis in (2, 3):
        size = x.shape[axis]
        before, after = x.narrow(axis, 1, pad).flip(axis), x.narrow(axis, size - 1 - pad, pad).flip(axis)
        x = torch.cat([before, x, after], dim=axis)
    return x


def channels_last(x: Tensor) -> Tensor:
    """A network's input in the layout of its weights on a GPU; unchanged on a CPU."""
    return x if x.device.type == "cpu" else x.contiguous(memory_format=torch.channels_last)


class InstanceNorm2d(nn.Module):
    """:func:`instance_norm` as a layer; without parameters, as in the originals."""

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        return instance_norm(x)


class GroupNorm(nn.GroupNorm):
    """Group norm (Wu and He 2018) that keeps the layout of its input on a GPU, where torch's own writes NCHW."""

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape; mean and variance in float32."""
        if x.device.type == "cpu":
            return super().forward(x)
        batch, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, self.num_groups, -1).float()
        variance, mean = torch.var_mean(pixels, dim=(1, 3), unbiased=False, keepdim=True)
        normalised = ((pixels - mean) * (variance + self.eps).rsqrt()).view(batch, height, width, channels)
        return (normalised * self.weight + self.bias).permute(0, 3, 1, 2)


def norm_layer(norm: Norm, width: int) -> nn.Module:
    """The norm of an original's layers of ``width`` channels: instance norm without parameters, or batch norm."""
    return InstanceNorm2d() if norm == "instance" else nn.BatchNorm2d(width)


class ReflectionPad2d(nn.Module):
    """:func:`reflect` as a layer."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to B x C x (H + 2 pad) x (W + 2 pad)."""
        return reflect(x, self.pad)


class ReflectedConv2d(nn.Conv2d):
    """A square convolution of stride 1 with reflected borders, whose output has the size of its input."""

    def __init__(self, channels: int, width: int, kernel: int) -> None:
        super().__init__(channels, width, kernel)
        self.border = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W to B x width x H x W."""
        return super().forward(reflect(x, self.border))


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.float()
        variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
        scale = (variance + _EPSILON).rsqrt()
        y = ((wide - mean) * scale).to(x.dtype)
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        (incoming,) = gradients
        grad, y = incoming.float(), y.float()
        common, along = grad.mean((2, 3), keepdim=True), (grad * y).mean((2, 3), keepdim=True)
        result: Tensor = ((grad - common - y * along) * scale).to(incoming.dtype)
        return result
