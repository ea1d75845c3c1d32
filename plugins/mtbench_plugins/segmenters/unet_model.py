"""The 2-D residual U-Net as a segmenter."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mtbench.training import Augmentation, Losses, chain, flip, pad_crop
from mtbench_plugins.segmenters._base import NetworkSegmenter, cross_entropy
from mtbench_plugins.segmenters.residual_unet import ResidualUNet, dice_loss, one_hot


class UNetSegmenter(NetworkSegmenter):
    """The residual U-Net (equal to ``monai.networks.nets.UNet``), with two convolutions per unit and batch
    normalisation.

    Batch normalisation, as in the paper's lab, keeps what instance normalisation removes: the overall brightness of an
    image. With instance normalisation, noise in a slice without objects is segmented as objects.

    Trained with AdamW on the sum of cross-entropy and Dice loss. The Dice loss is computed over the pixels of the whole
    batch without the background, so slices without objects do no harm.

    Args:
        per: "task": one network, softmax over background and labels; "region": one sigmoid network per region.
        epochs: at most.
        lr: learning rate.
        batch_size: training slices per step.
        filters: channels of the first level, doubled at each level.
        levels: resolutions.
        patience: epochs without a better validation Dice before training stops.
        augment: "none", or "shift" by up to 1/16 of the size, "flip" left and right, or both.
        epoch_length: training slices per epoch; ``None``: all of them once.
    """

    def __init__(
        self,
        per: Literal["task", "region"] = "task",
        epochs: int = 100,
        lr: float = 1e-3,
        batch_size: int = 8,
        filters: int = 32,
        levels: int = 5,
        patience: int = 15,
        augment: str = "shift",
        epoch_length: int | None = None,
    ) -> None:
        super().__init__(
            per=per,
            levels=levels,
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            epoch_length=epoch_length,
        )
        self.lr, self.filters, self.augment = lr, filters, augment

    def network(self, channels: int) -> nn.Module:
        """See the class."""
        return ResidualUNet(channels, [self.filters * 2**level for level in range(self.levels)])

    def bottleneck(self, network: nn.Module, images: Tensor) -> Tensor:
        """The encoder's output."""
        assert isinstance(network, ResidualUNet)
        return network.bottleneck(images)

    def optimiser(self, network: nn.Module) -> Optimizer:
        """AdamW."""
        return torch.optim.AdamW(network.parameters(), self.lr)

    def losses(self, logits: Tensor, classes: Tensor) -> Losses:
        """Cross-entropy and batch Dice."""
        if logits.shape[1] == 1:
            truth = classes[:, None].to(logits.dtype)
            overlap = dice_loss(logits.sigmoid(), truth, whole_batch=True)
            return {"dice": overlap, "ce": F.binary_cross_entropy_with_logits(logits, truth)}
        truth = one_hot(classes, logits.shape[1])
        overlap = dice_loss(logits.softmax(1)[:, 1:], truth[:, 1:], whole_batch=True)
        return {"dice": overlap, "ce": cross_entropy(logits, classes)}

    def augmentation(self, size: tuple[int, int]) -> Augmentation | None:
        """See the class."""
        steps = []
        if "shift" in self.augment:
            steps.append(pad_crop(max(1, max(size) // 16)))
        if "flip" in self.augment:
            steps.append(flip())
        return chain(*steps) if steps else None
