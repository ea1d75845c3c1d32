"""MaskGAN's attention generator (Phan et al., MICCAI 2023), with the original's state-dict names."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench_plugins.translators._shared.layers import ReflectedConv2d, channels_last, instance_norm


class MaskedTranslation(NamedTuple):
    """The generator's output.

    Attributes:
        image: B x C x H x W in [-1, 1].
        attentions: B x n x H x W, non-negative, summing to one over n; the last one is the background's,
            where the output is a copy of the input.
    """

    image: Tensor
    attentions: Tensor

    @property
    def background(self) -> Tensor:
        """The background attention, B x 1 x H x W."""
        return self.attentions[:, -1:]


class TrunkBlock(nn.Module):
    """x + (conv, norm, ReLU, conv, norm)(x), with reflected borders."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ReflectedConv2d(width, width, 3)
        self.conv2 = ReflectedConv2d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """B x width x h x w to the same shape."""
        return x + instance_norm(self.conv2(F.relu(instance_norm(self.conv1(x)))))


class AttentionGenerator(nn.Module):
    """A shared encoder with one decoder for content images and one for attention maps.

    The output is the sum of attention times content over the foreground, plus the background attention times
    the input. As in the original's files, the content decoder has as many images as there are attention maps, although
    the last one is never used.

    Args:
        channels: of input and output.
        ngf: filters of the first layer.
        n_blocks: residual blocks.
        n_attentions: attention maps, the background's included.
    """

    multiple = 4

    def __init__(self, channels: int = 1, ngf: int = 64, n_blocks: int = 9, n_attentions: int = 5) -> None:
        super().__init__()
        self.conv1 = ReflectedConv2d(channels, ngf, 7)
        self.conv2 = nn.Conv2d(ngf, 2 * ngf, 3, 2, 1)
        self.conv3 = nn.Conv2d(2 * ngf, 4 * ngf, 3, 2, 1)
        self.resnet_blocks = nn.ModuleList(TrunkBlock(4 * ngf) for _ in range(n_blocks))
        self.deconv1_content = nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, output_padding=1)
        self.deconv2_content = nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, output_padding=1)
        self.deconv3_content = ReflectedConv2d(ngf, n_attentions * channels, 7)
        self.deconv1_attention = nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, output_padding=1)
        self.deconv2_attention = nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, output_padding=1)
        self.deconv3_attention = nn.Conv2d(ngf, n_attentions, 1)

    def forward(self, image: Tensor) -> MaskedTranslation:
        """float32 B x C x H x W in [-1, 1]; H and W must be multiples of 4."""
        x = image
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(instance_norm(conv(x)))
        for block in self.resnet_blocks:
            x = block(x)
        content, attention = x, x
        for up in (self.deconv1_content, self.deconv2_content):
            content = F.relu(instance_norm(up(content)))
        for up in (self.deconv1_attention, self.deconv2_attention):
            attention = F.relu(instance_norm(up(attention)))
        contents = torch.tanh(self.deconv3_content(content))
        attentions = torch.softmax(self.deconv3_attention(attention), dim=1)
        b, n, h, w = attentions.shape
        layers = contents.view(b, n, -1, h, w)[:, :-1]
        foreground = (attentions[:, :-1, None] * layers).sum(dim=1)
        return MaskedTranslation(channels_last(foreground + attentions[:, -1:] * image), attentions)
