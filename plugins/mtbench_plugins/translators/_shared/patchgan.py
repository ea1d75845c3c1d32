"""The PatchGAN discriminator that CycleGAN and MaskGAN share."""

from __future__ import annotations

from torch import Tensor, nn

from mtbench_plugins.translators._shared.layers import InstanceNorm2d

SLOPE = 0.2
"""Slope of every leaky ReLU in these four models."""


class PatchGAN(nn.Module):
    """Scores overlapping patches of an image (Isola et al. 2017; 70 x 70 pixels with three layers).

    State-dict names are those of the original's ``NLayerDiscriminator`` with instance norm.

    Args:
        channels: of the image.
        ndf: filters of the first layer.
        n_layers: strided layers.
    """

    def __init__(self, channels: int = 1, ndf: int = 64, n_layers: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        width = ndf
        for n in range(1, n_layers + 1):
            wider = ndf * min(2**n, 8)
            stride = 2 if n < n_layers else 1
            layers += [nn.Conv2d(width, wider, 4, stride, 1), InstanceNorm2d(), nn.LeakyReLU(SLOPE)]
            width = wider
        layers.append(nn.Conv2d(width, 1, 4, 1, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """float32 B x C x H x W in [-1, 1] to one unbounded score per patch, B x 1 x h x w."""
        score: Tensor = self.model(image)
        return score
