"""pix2pix's losses of one step, weighted as they enter the total (Isola et al. 2017, eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtbench_plugins.translators._shared.adversarial import cross_entropy, discriminator_loss, l1
from mtbench_plugins.translators._shared.layers import channels_last


def generator_losses(
    discriminator: nn.Module, source: Tensor, truth: Tensor, fake: Tensor, lambda_l1: float
) -> dict[str, Tensor]:
    """Losses of the generator; images are float32 B x C x H x W in [-1, 1], the discriminator judges pairs."""
    score = discriminator(channels_last(torch.cat([source, fake], dim=1)))
    return {"G_GAN": cross_entropy(score, real=True), "G_L1": lambda_l1 * l1(fake, truth)}


def pair_loss(discriminator: nn.Module, source: Tensor, truth: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss on true and translated pairs."""
    real, translated = (channels_last(torch.cat([source, image], dim=1)) for image in (truth, fake))
    return discriminator_loss(discriminator, real, translated, cross_entropy)
