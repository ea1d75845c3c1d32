"""CycleGAN's generator (Zhu et al. 2017), with the original's state-dict names."""

from __future__ import annotations

from torch import Tensor, nn

from mtbench_plugins.translators._shared.layers import InstanceNorm2d, ReflectionPad2d


class ResnetBlock(nn.Module):
    """x + (conv, norm, ReLU, conv, norm)(x), with reflected borders."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            InstanceNorm2d(),
            nn.ReLU(),
            ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            InstanceNorm2d(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """B x width x h x w to the same shape."""
        out: Tensor = x + self.conv_block(x)
        return out


class ResnetGenerator(nn.Module):
    """Two strided convolutions down, residual blocks, two transposed convolutions up.

    Args:
        channels: of input and output.
        ngf: filters of the first layer.
        n_blocks: residual blocks; the original has 9 (``resnet_9blocks``) or 6.
    """

    multiple = 4

    def __init__(self, channels: int = 1, ngf: int = 64, n_blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            ReflectionPad2d(3),
            nn.Conv2d(channels, ngf, 7),
            InstanceNorm2d(),
            nn.ReLU(),
        ]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), InstanceNorm2d(), nn.ReLU()]
        layers += [ResnetBlock(4 * ngf) for _ in range(n_blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [
                nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1),
                InstanceNorm2d(),
                nn.ReLU(),
            ]
        layers += [ReflectionPad2d(3), nn.Conv2d(ngf, channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """float32 B x C x H x W in [-1, 1] to the same; H and W must be multiples of 4."""
        out: Tensor = self.model(image)
        return out
