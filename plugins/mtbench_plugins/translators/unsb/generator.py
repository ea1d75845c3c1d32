"""UNSB's generator (Kim et al., ICLR 2024), with the state-dict names of the released code."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mtbench_plugins.translators._shared.blur import BlurDown, BlurUp
from mtbench_plugins.translators._shared.layers import InstanceNorm2d, ReflectionPad2d, instance_norm
from mtbench_plugins.translators._shared.patchgan import SLOPE
from mtbench_plugins.translators.unsb.layers import PixelNorm, sinusoids

ENCODER_LAYERS = 12
"""Entries of the encoder's list; feature indices continue from there through the residual blocks."""


class AdaptiveScale(nn.Module):
    """Scale and shift of a normalised feature map by the noise embedding."""

    def __init__(self, width: int, z_width: int) -> None:
        super().__init__()
        self.style_net = nn.Linear(z_width, 2 * width)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """B x C x h x w and B x z_width to B x C x h x w."""
        gamma, beta = self.style_net(z)[:, :, None, None].chunk(2, dim=1)
        scaled: Tensor = gamma * x + beta
        return scaled


class ConditionalBlock(nn.Module):
    """A residual block conditioned on noise and, only if ``timed``, on the time step.

    In the released code the results of the first convolution and of the time projection are overwritten before they are
    used: the block normalises its *input*. Every released weight file was trained in this way; ``timed=False`` computes
    the same, and keeps the unused parameters, frozen, so that the files load. ``timed=True`` is the block that the
    paper describes, with the time added after the norm: the released code adds it before, where the norm removes any
    constant per channel.
    """

    def __init__(self, width: int, timed: bool) -> None:
        super().__init__()
        self.timed = timed
        self.conv_block = nn.Sequential(ReflectionPad2d(1), nn.Conv2d(width, width, 3))
        self.adaptive = AdaptiveScale(width, width)
        self.conv_fin = nn.Sequential(nn.ReLU(), ReflectionPad2d(1), nn.Conv2d(width, width, 3))
        self.Dense_time = nn.Linear(width, width)
        self.style = nn.Linear(width, 2 * width)
        self.style.requires_grad_(False)
        if not timed:
            self.conv_block.requires_grad_(False)
            self.Dense_time.requires_grad_(False)

    def forward(self, x: Tensor, z: Tensor, time: Tensor | None) -> Tensor:
        """B x C x h x w, the noise embedding and the time embedding (B x C each) to B x C x h x w."""
        h = self.adaptive(instance_norm(x if time is None else self.conv_block(x)), z)
        if time is not None:
            h = h + self.Dense_time(time)[:, :, None, None]
        return x + instance_norm(self.conv_fin(h))


class BridgeGenerator(nn.Module):
    """Predicts the target image from a point of the bridge, a step index and noise.

    Args:
        channels: of input and output.
        ngf: filters of the first layer; the noise has length ``4 * ngf``.
        n_blocks: residual blocks.
        timed: whether the step index has an effect (see :class:`ConditionalBlock`).
    """

    multiple = 4

    def __init__(self, channels: int = 1, ngf: int = 64, n_blocks: int = 9, timed: bool = False) -> None:
        super().__init__()
        self.z_width = width = 4 * ngf
        self.timed = timed
        self.ngf = ngf
        self.model_res = nn.ModuleList(ConditionalBlock(width, timed) for _ in range(n_blocks))
        self.model = nn.Sequential(
            ReflectionPad2d(3),
            nn.Conv2d(channels, ngf, 7),
            InstanceNorm2d(),
            nn.ReLU(),
            nn.Conv2d(ngf, 2 * ngf, 3, padding=1),
            InstanceNorm2d(),
            nn.ReLU(),
            BlurDown(2 * ngf),
            nn.Conv2d(2 * ngf, width, 3, padding=1),
            InstanceNorm2d(),
            nn.ReLU(),
            BlurDown(width),
        )
        self.model_upsample = nn.Sequential(
            BlurUp(width),
            nn.Conv2d(width, 2 * ngf, 3, padding=1),
            InstanceNorm2d(),
            nn.ReLU(),
            BlurUp(2 * ngf),
            nn.Conv2d(2 * ngf, ngf, 3, padding=1),
            InstanceNorm2d(),
            nn.ReLU(),
            ReflectionPad2d(3),
            nn.Conv2d(ngf, channels, 7),
            nn.Tanh(),
        )
        mapping: list[nn.Module] = [PixelNorm()]
        for _ in range(4):
            mapping += [nn.Linear(width, width), nn.LeakyReLU(SLOPE)]
        self.z_transform = nn.Sequential(*mapping)
        self.time_embed = nn.Sequential(
            nn.Linear(ngf, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE)
        )
        self.time_embed.requires_grad_(timed)

    def forward(self, image: Tensor, step: Tensor, z: Tensor) -> Tensor:
        """Float32 B x C x H x W in [-1, 1], int64 step indices B, noise B x 4 ngf, to B x C x H x W."""
        x = self.model(image)
        embedded, time = self._embeddings(step, z)
        for block in self.model_res:
            x = block(x, embedded, time)
        out: Tensor = self.model_upsample(x)
        return out

    def features(self, image: Tensor, step: Tensor, z: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """The running feature map after each index of ``layers``, ascending, for the patch-wise contrast.

        Indices run through the encoder's 12 entries (0 is the padded image itself) and then the residual
        blocks (12 is the first); nothing beyond the last index is computed.
        """
        features = []
        x = image
        for index, layer in enumerate(self.model[: max(layers) + 1]):
            x = layer(x)
            if index in layers:
                features.append(x)
        if max(layers) >= ENCODER_LAYERS:
            embedded, time = self._embeddings(step, z)
            for index, block in enumerate(self.model_res[: max(layers) + 1 - ENCODER_LAYERS], ENCODER_LAYERS):
                x = block(x, embedded, time)
                if index in layers:
                    features.append(x)
        return features

    def widths(self, layers: Sequence[int]) -> list[int]:
        """Channels of the maps that :meth:`features` yields."""
        first = self.model[1]
        assert isinstance(first, nn.Conv2d)
        by_index = [first.in_channels, *[self.ngf] * 3, *[2 * self.ngf] * 4, *[4 * self.ngf] * 4]
        return [by_index[i] if i < ENCODER_LAYERS else 4 * self.ngf for i in layers]

    def map_sizes(self, height: int, width: int, layers: Sequence[int]) -> list[tuple[int, int]]:
        """Heights and widths of the maps that :meth:`features` yields for an image of that size."""
        halved = [0, *[0] * 6, *[1] * 4, 2]
        sizes = []
        for index in layers:
            if index == 0:
                sizes.append((height + 6, width + 6))
            else:
                by = 2 ** (halved[index] if index < ENCODER_LAYERS else 2)
                sizes.append((height // by, width // by))
        return sizes

    def _embeddings(self, step: Tensor, z: Tensor) -> tuple[Tensor, Tensor | None]:
        time = self.time_embed(sinusoids(step, self.ngf)) if self.timed else None
        return self.z_transform(z), time
