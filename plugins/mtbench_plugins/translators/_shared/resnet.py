"""The residual generator of CycleGAN, CUT and pix2pix, with the originals' state-dict names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mtbench_plugins.translators._shared.blur import BlurDown, BlurUp
from mtbench_plugins.translators._shared.layers import Norm, ReflectionPad2d, norm_layer


class ResnetBlock(nn.Module):
    """x + (conv, norm, ReLU, conv, norm)(x), with reflected borders."""

    def __init__(self, width: int, norm: Norm = "instance", dropout: bool = False) -> None:
        super().__init__()
        bias = norm == "instance"
        # Dropout takes no place of its own: names are those of files without it.
        middle = nn.Sequential(nn.ReLU(), nn.Dropout(0.5)) if dropout else nn.ReLU()
        self.conv_block = nn.Sequential(
            ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
            middle,
            ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=bias),
            norm_layer(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """B x width x h x w to the same shape."""
        out: Tensor = x + self.conv_block(x)
        return out


class ResnetGenerator(nn.Module):
    """Two convolutions that halve, residual blocks, two convolutions that double.

    Args:
        channels: of the output.
        ngf: filters of the first layer.
        n_blocks: residual blocks; the originals have 9 (``resnet_9blocks``) or 6.
        inputs: channels of the input, if it has another number.
        norm: CycleGAN and CUT have instance norm, pix2pix batch norm.
        antialias: halve and double by blurring (CUT), in place of strided and transposed convolutions.
        dropout: of one half in each residual block.
    """

    def __init__(
        self,
        channels: int = 1,
        ngf: int = 64,
        n_blocks: int = 9,
        *,
        inputs: int | None = None,
        norm: Norm = "instance",
        antialias: bool = False,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        layers: list[nn.Module] = [
            ReflectionPad2d(3),
            nn.Conv2d(inputs or channels, ngf, 7, bias=bias),
            norm_layer(norm, ngf),
            nn.ReLU(),
        ]
        for width in (ngf, 2 * ngf):
            down = nn.Conv2d(width, 2 * width, 3, 1 if antialias else 2, 1, bias=bias)
            layers += [down, norm_layer(norm, 2 * width), nn.ReLU()]
            layers += [BlurDown(2 * width)] if antialias else []
        layers += [ResnetBlock(4 * ngf, norm, dropout) for _ in range(n_blocks)]
        for width in (4 * ngf, 2 * ngf):
            if antialias:
                layers += [BlurUp(width), nn.Conv2d(width, width // 2, 3, padding=1, bias=bias)]
            else:
                layers.append(nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1, bias=bias))
            layers += [norm_layer(norm, width // 2), nn.ReLU()]
        layers += [ReflectionPad2d(3), nn.Conv2d(ngf, channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """float32 B x ``inputs`` x H x W to B x ``channels`` x H x W in [-1, 1]; H and W must be multiples of 4."""
        out: Tensor = self.model(image)
        return out

    def features(self, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """The running map after each entry of ``model`` in ``layers``, ascending (0 is the padded image)."""
        maps, x = [], image
        for index, layer in enumerate(self.model[: max(layers) + 1]):
            x = layer(x)
            if index in layers:
                maps.append(x)
        return maps
