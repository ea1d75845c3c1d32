"""SPADE's losses of one step, weighted as they enter the total (Park et al. 2019, after Wang et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtbench_plugins.translators._shared.adversarial import hinge, l1

Stages = list[list[Tensor]]
"""Scale by scale the outputs of the discriminator's stages, patch scores last."""


def judge(discriminator: nn.Module, segmap: Tensor, fake: Tensor, real: Tensor) -> tuple[Stages, Stages]:
    """The discriminator's stages for fake and for real images, from one pass of both together."""
    stages: Stages = discriminator(torch.cat([segmap, segmap]), torch.cat([fake, real]))
    half = len(fake)
    return [[s[:half] for s in scale] for scale in stages], [[s[half:] for s in scale] for scale in stages]


def generator_losses(fake: Stages, real: Stages, lambda_feat: float) -> dict[str, Tensor]:
    """The adversarial term and feature matching: all stages but the scores, real ones detached."""
    losses = {"GAN": torch.stack([-scale[-1].float().mean() for scale in fake]).mean()}
    if lambda_feat > 0:
        distances = [
            l1(f, r.detach()) for a, b in zip(fake, real, strict=True) for f, r in zip(a[:-1], b[:-1], strict=True)
        ]
        losses["GAN_Feat"] = lambda_feat / len(fake) * torch.stack(distances).sum()
    return losses


def discriminator_losses(fake: Stages, real: Stages) -> dict[str, Tensor]:
    """Hinge losses, averaged over the scales."""
    return {
        "D_Fake": torch.stack([hinge(scale[-1], real=False) for scale in fake]).mean(),
        "D_real": torch.stack([hinge(scale[-1], real=True) for scale in real]).mean(),
    }
