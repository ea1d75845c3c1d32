"""The denoising U-Net: ``UNet2DModel`` of diffusers with the blocks that ContourDiff uses, under the same names.

Resnet blocks with a time embedding, and self-attention in one level and in the middle (Ho, Jain, Abbeel: Denoising
diffusion probabilistic models. NeurIPS 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench_plugins.translators._shared.layers import GroupNorm, channels_last

EPS = 1e-5
WIDTH, LEVELS, GROUPS, HEAD = 128, 6, 32, 8
"""Of the original's network."""


@dataclass(frozen=True)
class UNetConfig:
    """The sizes of a network.

    Attributes:
        widths: channels of each level.
        attention: whether each level has self-attention.
        blocks: resnet blocks of a level on the way down; one more on the way up.
        groups: of the group norms.
        head: channels of an attention head.
    """

    widths: tuple[int, ...]
    attention: tuple[bool, ...]
    blocks: int = 2
    groups: int = GROUPS
    head: int = HEAD

    @property
    def time(self) -> int:
        """The width of the time embedding."""
        return 4 * self.widths[0]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> UNetConfig:
        """The original's sizes, or those with another ``width`` or other ``levels``.

        Every second level doubles the channels, and the last but one has self-attention. Widths that 32 groups or heads
        of 8 do not divide get fewer groups and smaller heads.
        """
        width, levels = params["width"] or WIDTH, params["levels"] or LEVELS
        return cls(
            tuple(width * 2 ** (level // 2) for level in range(levels)),
            tuple(level == levels - 2 for level in range(levels)),
            groups=math.gcd(GROUPS, width),
            head=math.gcd(HEAD, width),
        )


class ResnetBlock(nn.Module):
    """Two convolutions after group norm and SiLU, with the time embedding between them, added to the input.

    Args:
        before, after: channels.
        time: width of the time embedding.
        groups: of the group norms.
    """

    def __init__(self, before: int, after: int, time: int, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, before, eps=EPS)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, after)
        self.norm2 = GroupNorm(groups, after, eps=EPS)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """B x before x H x W and the embedded time B x T to B x after x H x W."""
        inner = self.conv1(F.silu(self.norm1(x)))
        inner = inner + self.time_emb_proj(F.silu(time))[:, :, None, None]
        inner = self.conv2(F.silu(self.norm2(inner)))
        out: Tensor = self.conv_shortcut(x) + inner
        return out


class Attention(nn.Module):
    """Self-attention over all pixels, added to the input.

    Args:
        channels: of the maps.
        head: channels of a head.
        groups: of the group norm.
    """

    def __init__(self, channels: int, head: int, groups: int) -> None:
        super().__init__()
        self.heads = channels // head
        self.group_norm = GroupNorm(groups, channels, eps=EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W both ways."""
        batch, channels, height, width = x.shape
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)
        query, key, value = (
            layer(pixels).view(batch, height * width, self.heads, -1).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.to_out[0](mixed).transpose(1, 2).reshape(batch, channels, height, width)
        return x + out


class Level(nn.Module):
    """The blocks of one level, each followed by attention if the level has it, and then half or twice the size.

    Args:
        blocks: channels before and after each resnet block.
        config: of the network.
        attention: whether the level has self-attention.
        up: whether it is on the way up, where each block also reads a map of the way down.
        resize: whether the next level has another size.
    """

    def __init__(
        self, blocks: Sequence[tuple[int, int]], config: UNetConfig, *, attention: bool, up: bool, resize: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(*sizes, config.time, config.groups) for sizes in blocks)
        # Lists of one entry, because the weights are called downsamplers.0.conv and upsamplers.0.conv.
        after, stride = blocks[-1][1], 1 if up else 2
        resizing = [nn.ModuleDict({"conv": nn.Conv2d(after, after, 3, stride, padding=1)})] if resize else []
        if attention:
            self.attentions = nn.ModuleList(Attention(after, config.head, config.groups) for _ in blocks)
        self.add_module("upsamplers" if up else "downsamplers", nn.ModuleList(resizing))
        self.attention, self.up, self.resize = attention, up, resize

    def forward(self, x: Tensor, time: Tensor, skips: list[Tensor]) -> Tensor:
        """The map of the next level; on the way down each map is added to ``skips``, on the way up it is taken."""
        for index, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1) if self.up else x, time)
            if self.attention:
                x = self.attentions[index](x)
            if not self.up:
                skips.append(x)
        if not self.resize:
            return x
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.get_submodule(f"{'up' if self.up else 'down'}samplers.0.conv")(x)
        if not self.up:
            skips.append(x)
        return x


class Middle(nn.Module):
    """Resnet block, attention, resnet block."""

    def __init__(self, channels: int, time: int, groups: int, head: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, time, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels, head, groups)])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """B x C x H x W both ways."""
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x, time)), time)
        return out


class DenoisingUNet(nn.Module):
    """Predicts the noise in a noisy image from it, its contours and the time.

    Args:
        config: its sizes.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, time, last = config.widths, config.time, len(config.widths) - 1
        self.conv_in = nn.Conv2d(2, widths[0], 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(widths[0], time), "linear_2": nn.Linear(time, time)})
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        x, skips = widths[0], [widths[0]]
        for i, (width, attention) in enumerate(zip(widths, config.attention, strict=True)):
            sizes = [(width if j else x, width) for j in range(config.blocks)]
            self.down_blocks.append(Level(sizes, config, attention=attention, up=False, resize=i < last))
            x, skips = width, skips + [width] * (config.blocks + (i < last))
        self.mid_block = Middle(x, time, config.groups, config.head)
        for i, (width, attention) in reversed(list(enumerate(zip(widths, config.attention, strict=True)))):
            sizes = [((width if j else x) + skips.pop(), width) for j in range(config.blocks + 1)]
            self.up_blocks.append(Level(sizes, config, attention=attention, up=True, resize=i > 0))
            x = width
        self.conv_norm_out = GroupNorm(config.groups, x, eps=EPS)
        self.conv_out = nn.Conv2d(x, 1, 3, padding=1)

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        """The noise, B x 1 x H x W, in B x 2 x H x W at the time steps B; all but the last level halve the sides."""
        time = self.time_embedding["linear_1"](sinusoids(steps, self.config.widths[0]).to(x.dtype))
        time = self.time_embedding["linear_2"](F.silu(time))
        x = self.conv_in(channels_last(x))
        skips = [x]
        for level in self.down_blocks:
            x = level(x, time, skips)
        x = self.mid_block(x, time)
        for level in self.up_blocks:
            x = level(x, time, skips)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out


def sinusoids(steps: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of the time steps B at frequencies from 1 towards 1/10000; float32, B x ``width``."""
    half = width // 2
    rates = torch.exp(-math.log(10000.0) / half * torch.arange(half, dtype=torch.float32, device=steps.device))
    angles = steps.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
