"""A plain U-Net with the known settings of the paper's lab."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mtbench.training import Losses
from mtbench_plugins.segmenters._base import NetworkSegmenter
from mtbench_plugins.segmenters.residual_unet import dice_loss


class LabUNetSegmenter(NetworkSegmenter):
    """One sigmoid U-Net for each region: two 3 x 3 convolutions with batch normalisation and ReLU per level.

    Settings of the lab that wrote the paper, from the code of its later work on the same data: five encoder blocks
    (including the lowest), 64 channels at the first, max pooling, transposed convolutions upwards, Adam with learning
    rate 0.01 and weight decay 1e-4, batches of 8, at most 100 epochs, early stopping after 5 without a better
    validation Dice, seed 1338, no augmentation. Its loss is the Dice loss of each slice plus a cross-entropy whose
    softmax runs *over the pixels* of a slice (the target's pixels summed), which looks like a mistake and is kept
    because it is part of the published results. It is large and carries no information about the threshold, so the Dice
    loss converges late: with few training slices (few steps per epoch) raise ``patience``.

    Args:
        epochs, lr, weight_decay, batch_size, filters, levels, patience: as above.
        seed: mixed with the context's seed.
    """

    def __init__(
        self,
        epochs: int = 100,
        lr: float = 0.01,
        weight_decay: float = 1e-4,
        batch_size: int = 8,
        filters: int = 64,
        levels: int = 5,
        patience: int = 5,
        seed: int = 1338,
    ) -> None:
        super().__init__(
            per="region", levels=levels, epochs=epochs, batch_size=batch_size, patience=patience, seed=seed
        )
        self.lr, self.weight_decay, self.filters = lr, weight_decay, filters

    def network(self, channels: int) -> nn.Module:
        """See the class."""
        return PlainUNet(channels, self.filters, self.levels)

    def bottleneck(self, network: nn.Module, images: Tensor) -> Tensor:
        """The encoder's output."""
        assert isinstance(network, PlainUNet)
        return network.encode(images)[-1]

    def optimiser(self, network: nn.Module) -> Optimizer:
        """Adam."""
        return torch.optim.Adam(network.parameters(), self.lr, weight_decay=self.weight_decay)

    def losses(self, logits: Tensor, classes: Tensor) -> Losses:
        """Dice of each slice, and the cross-entropy over pixels."""
        truth = classes.to(logits.dtype)
        return {
            "dice": dice_loss(logits.sigmoid(), truth[:, None]),
            "ce": F.cross_entropy(logits.flatten(1), truth.flatten(1)),
        }


class PlainUNet(nn.Module):
    """The U-Net of 2015 with padded convolutions and batch normalisation.

    Args:
        channels: of the output; the input has one.
        filters: of the first level, doubled at each level.
        levels: resolutions, the lowest one included.
    """

    def __init__(self, channels: int, filters: int, levels: int) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(w, w, 2, stride=2) for w in reversed(widths[1:]))
        self.merge = nn.ModuleList(_block(3 * w, w) for w in reversed(widths[:-1]))
        self.classify = nn.Conv2d(filters, channels, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The activations of every level of the encoder, B x C x H x W, the lowest level last."""
        levels: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if levels else x)
            levels.append(x)
        return levels

    def forward(self, x: Tensor) -> Tensor:
        """B x 1 x H x W, sides multiples of 2 ** (levels - 1), to logits B x ``channels`` x H x W."""
        *skips, x = self.encode(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        logits: Tensor = self.classify(x)
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
