"""The PatchGAN discriminator of CycleGAN, MaskGAN, CUT and pix2pix."""

from __future__ import annotations

from torch import Tensor, nn

from mtbench_plugins.translators._shared.blur import BlurDown
from mtbench_plugins.translators._shared.layers import Norm, norm_layer

SLOPE = 0.2
"""Slope of every leaky ReLU in these models."""


class PatchGAN(nn.Module):
    """Scores overlapping patches of an image (Isola et al. 2017; 70 x 70 pixels with three layers).

    State-dict names are those of the original's ``NLayerDiscriminator``.

    Args:
        channels: of the image.
        ndf: filters of the first layer.
        n_layers: layers that halve the image.
        norm: pix2pix's has batch norm.
        antialias: halve by blurring (CUT), in place of strided convolutions.
    """

    def __init__(
        self,
        channels: int = 1,
        ndf: int = 64,
        n_layers: int = 3,
        *,
        norm: Norm = "instance",
        antialias: bool = False,
    ) -> None:
        super().__init__()
        stride = 1 if antialias else 2
        layers: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, stride, 1), nn.LeakyReLU(SLOPE)]
        layers += [BlurDown(ndf)] if antialias else []
        width = ndf
        for n in range(1, n_layers + 1):
            wider, halves = ndf * min(2**n, 8), n < n_layers
            conv = nn.Conv2d(width, wider, 4, stride if halves else 1, 1, bias=norm == "instance")
            layers += [conv, norm_layer(norm, wider), nn.LeakyReLU(SLOPE)]
            layers += [BlurDown(wider)] if antialias and halves else []
            width = wider
        layers.append(nn.Conv2d(width, 1, 4, 1, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """float32 B x C x H x W in [-1, 1] to one unbounded score per patch, B x 1 x h x w."""
        score: Tensor = self.model(image)
        return score
