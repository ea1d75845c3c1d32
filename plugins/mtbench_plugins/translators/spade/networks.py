"""SPADE's generator and multi-scale discriminator (Park et al., CVPR 2019), with the original's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench_plugins.translators._shared.layers import InstanceNorm2d, channels_last
from mtbench_plugins.translators._shared.patchgan import SLOPE
from mtbench_plugins.translators.spade.spectral import SpectralConv2d

UPSAMPLINGS = 5
"""The generator doubles its start map five times."""


class SpadeNorm(nn.Module):
    """Batch norm whose scale and shift are computed from the label map at every pixel."""

    def __init__(self, width: int, labels: int, hidden: int) -> None:
        super().__init__()
        self.param_free_norm = nn.BatchNorm2d(width, affine=False)
        self.mlp_shared = nn.Sequential(nn.Conv2d(labels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, width, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, width, 3, padding=1)

    def forward(self, x: Tensor, segmap: Tensor) -> Tensor:
        """B x width x h x w and the label map at that size, B x labels x h x w."""
        shared = self.mlp_shared(segmap)
        out: Tensor = self.param_free_norm(x) * (1 + self.mlp_gamma(shared)) + self.mlp_beta(shared)
        return out


class SpadeBlock(nn.Module):
    """A residual block with SPADE norms and spectrally normalised convolutions."""

    def __init__(self, channels: int, width: int, labels: int, hidden: int) -> None:
        super().__init__()
        middle = min(channels, width)
        self.conv_0 = SpectralConv2d(channels, middle, 3, padding=1)
        self.conv_1 = SpectralConv2d(middle, width, 3, padding=1)
        self.norm_0 = SpadeNorm(channels, labels, hidden)
        self.norm_1 = SpadeNorm(middle, labels, hidden)
        self.conv_s: nn.Module | None = None
        self.norm_s: nn.Module | None = None
        if channels != width:
            self.conv_s = SpectralConv2d(channels, width, 1, bias=False)
            self.norm_s = SpadeNorm(channels, labels, hidden)

    def forward(self, x: Tensor, segmap: Tensor) -> Tensor:
        """B x inputs x h x w to B x width x h x w; ``segmap`` is resized to h x w."""
        segmap = F.interpolate(segmap, size=x.shape[2:], mode="nearest")
        skip = x
        if self.conv_s is not None and self.norm_s is not None:
            skip = self.conv_s(self.norm_s(x, segmap))
        h = self.conv_0(F.leaky_relu(self.norm_0(x, segmap), SLOPE))
        out: Tensor = skip + self.conv_1(F.leaky_relu(self.norm_1(h, segmap), SLOPE))
        return out


class SpadeGenerator(nn.Module):
    """Generates an image from a label map alone.

    The original sets the size of the start map by its ``crop_size`` option; here it is a thirty-second of the label
    map, which is the same for label maps of ``crop_size``.

    Args:
        label_nc: channels of the one-hot label map, background included.
        channels: of the image; the original always has 3.
        ngf: filters of the last stage.
        nhidden: filters between label map and modulation; the original has 128.
    """

    multiple = 2**UPSAMPLINGS

    def __init__(self, label_nc: int, channels: int = 3, ngf: int = 64, nhidden: int = 128) -> None:
        super().__init__()
        self.fc = nn.Conv2d(label_nc, 16 * ngf, 3, padding=1)
        self.head_0 = SpadeBlock(16 * ngf, 16 * ngf, label_nc, nhidden)
        self.G_middle_0 = SpadeBlock(16 * ngf, 16 * ngf, label_nc, nhidden)
        self.G_middle_1 = SpadeBlock(16 * ngf, 16 * ngf, label_nc, nhidden)
        self.up_0 = SpadeBlock(16 * ngf, 8 * ngf, label_nc, nhidden)
        self.up_1 = SpadeBlock(8 * ngf, 4 * ngf, label_nc, nhidden)
        self.up_2 = SpadeBlock(4 * ngf, 2 * ngf, label_nc, nhidden)
        self.up_3 = SpadeBlock(2 * ngf, ngf, label_nc, nhidden)
        self.conv_img = nn.Conv2d(ngf, channels, 3, padding=1)

    def forward(self, segmap: Tensor) -> Tensor:
        """One-hot float32 B x labels x H x W, H and W multiples of 32, to B x C x H x W in [-1, 1]."""
        start = (segmap.shape[2] // self.multiple, segmap.shape[3] // self.multiple)
        x = self.fc(F.interpolate(segmap, size=start, mode="nearest"))
        x = _double(self.head_0(x, segmap))
        x = self.G_middle_1(self.G_middle_0(x, segmap), segmap)
        for block in (self.up_0, self.up_1, self.up_2, self.up_3):
            x = block(_double(x), segmap)
        return torch.tanh(self.conv_img(F.leaky_relu(x, SLOPE)))


class StagedPatchGAN(nn.Module):
    """A PatchGAN that returns every stage's output, for feature matching."""

    def __init__(self, channels: int, ndf: int, n_layers: int) -> None:
        super().__init__()
        width = ndf
        self.n_layers = n_layers
        self.model0 = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 2), nn.LeakyReLU(SLOPE))
        for n in range(1, n_layers):
            wider = min(2 * width, 8 * ndf)
            conv = SpectralConv2d(width, wider, 4, stride=2 if n < n_layers - 1 else 1, padding=2, bias=False)
            stage = nn.Sequential(nn.Sequential(conv, InstanceNorm2d()), nn.LeakyReLU(SLOPE))
            self.add_module(f"model{n}", stage)
            width = wider
        self.add_module(f"model{n_layers}", nn.Sequential(nn.Conv2d(width, 1, 4, 1, 2)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """B x inputs x H x W to the stages' outputs, the patch scores last."""
        out = []
        for n in range(self.n_layers + 1):
            x = getattr(self, f"model{n}")(x)
            out.append(x)
        return out


class MultiscaleDiscriminator(nn.Module):
    """The same PatchGAN, with separate weights, at each of ``num_D`` scales.

    Args:
        label_nc: channels of the one-hot label map.
        channels: of the image.
        ndf: filters of the first stage.
        n_layers: stages before the last one (``n_layers_D``).
        num_D: scales, each half the one before.
    """

    def __init__(self, label_nc: int, channels: int = 3, ndf: int = 64, n_layers: int = 4, num_D: int = 2) -> None:
        super().__init__()
        self.num_D = num_D
        for index in range(num_D):
            self.add_module(f"discriminator_{index}", StagedPatchGAN(label_nc + channels, ndf, n_layers))

    def forward(self, segmap: Tensor, image: Tensor) -> list[list[Tensor]]:
        """B x labels x H x W and B x C x H x W to, scale by scale, the stages' outputs."""
        x = channels_last(torch.cat([segmap, image], dim=1))
        out = []
        for index in range(self.num_D):
            if index > 0:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            out.append(getattr(self, f"discriminator_{index}")(x))
        return out


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
