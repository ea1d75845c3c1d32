"""A U-Net of residual units, and the Dice loss: the same results and state dict as MONAI's, whose import takes longer
than a unit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualUNet(nn.Module):
    """Kerfoot et al. 2018 ("Left-ventricle quantification using residual U-Net"), two-dimensional.

    Strided convolutions in the encoder, transposed ones in the decoder, residual units with two convolutions in the
    encoder and one in the decoder, batch normalisation and PReLU. Initial weights and the names of the state are those
    of ``monai.networks.nets.UNet(2, 1, out_channels, channels, strides=[2, ...], num_res_units=2, norm="BATCH")``.

    Args:
        out_channels: of the logits.
        channels: of each resolution, starting at full resolution; at least two.
        in_channels: of the input.
    """

    def __init__(self, out_channels: int, channels: Sequence[int], *, in_channels: int = 1) -> None:
        super().__init__()
        self.model = _level(in_channels, out_channels, list(channels), top=True)

    def forward(self, x: Tensor) -> Tensor:
        """B x ``in_channels`` x H x W, sides multiples of 2 ** (levels - 1), to logits B x ``out_channels`` x H x W."""
        logits: Tensor = self.model(x)
        return logits

    def bottleneck(self, x: Tensor) -> Tensor:
        """The activations of the lowest level of such images, B x ``channels[-1]`` x h x w."""
        level: nn.Module = self.model
        while isinstance(level, nn.Sequential):
            down, skip, _ = level
            assert isinstance(skip, _Skip)
            x, level = down(x), skip.submodule
        lowest: Tensor = level(x)
        return lowest


class _Skip(nn.Module):
    """The input, concatenated with the output of the inner levels."""

    def __init__(self, submodule: nn.Module) -> None:
        super().__init__()
        self.submodule = submodule

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.submodule(x)], dim=1)


class _ResidualUnit(nn.Module):
    """Convolutions with a shortcut around them."""

    def __init__(self, before: int, after: int, stride: int, units: int, *, plain: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        for number in range(units):
            unit = nn.Conv2d(after if number else before, after, 3, 1 if number else stride, padding=1)
            self.conv.add_module(f"unit{number}", _convolution(unit, plain=plain))
        self.residual: nn.Module = nn.Identity()
        if stride != 1:
            self.residual = nn.Conv2d(before, after, 3, stride, padding=1)
        elif before != after:
            self.residual = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = self.residual(x)
        transformed: Tensor = self.conv(x)
        return transformed + shortcut


def _level(before: int, after: int, channels: list[int], *, top: bool = False) -> nn.Sequential:
    """One resolution and all below it. Inner levels are built first: the initial weights depend on the order."""
    here, below = channels[:2]
    inner: nn.Module
    if len(channels) > 2:
        inner, width = _level(here, here, channels[1:]), 2 * here
    else:
        inner, width = _ResidualUnit(here, below, 1, units=2), here + below
    down = _ResidualUnit(before, here, 2, units=2)
    enlarge = nn.ConvTranspose2d(width, after, 3, 2, padding=1, output_padding=1)
    up = nn.Sequential(_convolution(enlarge), _ResidualUnit(after, after, 1, units=1, plain=top))
    return nn.Sequential(down, _Skip(inner), up)


def _convolution(convolution: nn.Conv2d | nn.ConvTranspose2d, *, plain: bool = False) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=convolution)
    if not plain:
        width = convolution.out_channels
        parts["adn"] = nn.Sequential(OrderedDict[str, nn.Module](N=nn.BatchNorm2d(width), A=nn.PReLU()))
    return nn.Sequential(parts)


_SMOOTH = 1e-5


def dice_loss(probabilities: Tensor, truth: Tensor, *, whole_batch: bool = False) -> Tensor:
    """1 - Dice of soft masks (Milletari et al. 2016, without squares), the mean over channels; as MONAI's ``DiceLoss``.

    Args:
        probabilities: B x C x H x W in [0, 1].
        truth: B x C x H x W, 0 or 1.
        whole_batch: pool the pixels of all slices; otherwise the mean over slices.
    """
    axes = (0, 2, 3) if whole_batch else (2, 3)
    both = (probabilities * truth).sum(axes)
    false_positive = (probabilities.sum(axes) - both) * 0.5
    false_negative = (truth.sum(axes) - both) * 0.5
    numerator = 2 * both + _SMOOTH
    return (1 - numerator / (2 * (both + false_positive + false_negative) + _SMOOTH)).mean()


def one_hot(classes: Tensor, count: int) -> Tensor:
    """B x H x W of class numbers to B x ``count`` x H x W of 0 and 1, float32."""
    return F.one_hot(classes, count).movedim(-1, 1).float()
