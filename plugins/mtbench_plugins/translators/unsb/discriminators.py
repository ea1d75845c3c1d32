"""UNSB's time-conditional discriminator D and energy network E: one architecture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench_plugins.translators._shared.blur import BlurDown
from mtbench_plugins.translators._shared.layers import channels_last, instance_norm
from mtbench_plugins.translators._shared.patchgan import SLOPE
from mtbench_plugins.translators.unsb.layers import sinusoids


class TimeEmbedding(nn.Module):
    """Step indices to B x width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.main = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE)
        )

    def forward(self, step: Tensor) -> Tensor:
        """int64 B to float32 B x width."""
        out: Tensor = self.main(sinusoids(step, self.width))
        return out


class TimedBlock(nn.Module):
    """Convolution plus time, norm (not in the first stage), leaky ReLU, halving (not in the last)."""

    def __init__(self, channels: int, width: int, time_width: int, norm: bool, halve: bool) -> None:
        super().__init__()
        self.norm, self.halve = norm, halve
        self.conv1 = nn.Conv2d(channels, width, 4, 1, 1)
        self.dense = nn.Linear(time_width, width)
        # The last stage does not blur, yet the released files hold its kernel.
        self.down = BlurDown(width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """B x inputs x h x w and B x time_width (or 1 x time_width) to B x width x h' x w'."""
        x = self.conv1(x) + self.dense(time)[:, :, None, None]
        if self.norm:
            x = instance_norm(x)
        x = F.leaky_relu(x, SLOPE)
        if self.halve:
            x = self.down(x)
        return x


class TimedPatchGAN(nn.Module):
    """A PatchGAN with blurred downsampling, conditioned on the step of the bridge.

    Args:
        channels: of its input; E scores two pairs at once and has four times the image's channels.
        ndf: filters of the first stage.
    """

    def __init__(self, channels: int = 1, ndf: int = 64) -> None:
        super().__init__()
        self.t_embed = TimeEmbedding(4 * ndf)
        widths = [channels, ndf, 2 * ndf, 4 * ndf, 8 * ndf]
        self.model_main = nn.ModuleList(
            TimedBlock(widths[i], widths[i + 1], 4 * ndf, norm=i > 0, halve=i < 3) for i in range(4)
        )
        self.final_conv = nn.Conv2d(8 * ndf, 1, 4, 1, 1)

    def forward(self, image: Tensor, step: Tensor, second: Tensor | None = None) -> Tensor:
        """Float32 B x C x H x W (and ``second``, joined along the channels) to patch scores B x 1 x h x w."""
        x = channels_last(image if second is None else torch.cat([image, second], dim=1))
        time = self.t_embed(step)
        for stage in self.model_main:
            x = stage(x, time)
        score: Tensor = self.final_conv(x)
        return score
