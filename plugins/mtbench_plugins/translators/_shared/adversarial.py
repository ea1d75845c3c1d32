"""Adversarial losses on patch scores."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


def least_squares(score: Tensor, real: bool) -> Tensor:
    """Mean squared distance of the scores to 1 (``real``) or 0 (Mao et al. 2017, eq. 2)."""
    score = score.float()
    return (score - 1.0).square().mean() if real else score.square().mean()


def cross_entropy(score: Tensor, real: bool) -> Tensor:
    """Mean cross-entropy of logits against 1 (``real``) or 0 (Goodfellow et al. 2014)."""
    score = score.float()
    return F.softplus(-score if real else score).mean()


def hinge(score: Tensor, real: bool) -> Tensor:
    """The critic's hinge loss: mean max(0, 1 - score) for ``real``, mean max(0, 1 + score) otherwise."""
    score = score.float()
    return (1.0 - score if real else 1.0 + score).relu().mean()


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference, in float32."""
    return (a.float() - b.float()).abs().mean()


def discriminator_loss(
    discriminator: nn.Module, real: Tensor, fake: Tensor, criterion: Callable[[Tensor, bool], Tensor] = least_squares
) -> Tensor:
    """Half the sum of the losses on real images and on translations; the latter are detached."""
    on_real = criterion(discriminator(real), True)
    on_fake = criterion(discriminator(fake.detach()), False)
    return 0.5 * (on_real + on_fake)
