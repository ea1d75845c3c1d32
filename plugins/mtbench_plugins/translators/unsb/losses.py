"""UNSB's losses of one step, weighted as they enter the total (Kim et al. 2024, section 4, and its code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtbench.training import no_grad
from mtbench_plugins.translators._shared import contrast
from mtbench_plugins.translators._shared.adversarial import least_squares
from mtbench_plugins.translators._shared.contrast import PatchProjection
from mtbench_plugins.translators.unsb.generator import BridgeGenerator


@dataclass(frozen=True)
class UnsbWeights:
    """Weights of the generator's terms; ``tau`` is the bridge's variance."""

    lambda_gan: float = 1.0
    lambda_sb: float = 1.0
    lambda_nce: float = 1.0
    tau: float = 0.01


@dataclass(frozen=True)
class WalkPair:
    """The result of the simulation of the bridge at one step.

    Attributes:
        step: the step index, the same for the whole batch.
        steps: their number (``num_timesteps``).
        x, x2: points of two independent walks from source images, B x C x H x W.
        fake, fake2: the targets predicted from them.
    """

    step: int
    steps: int
    x: Tensor
    x2: Tensor
    fake: Tensor
    fake2: Tensor

    def index(self) -> Tensor:
        """The step as network input: int64, one for the whole batch."""
        return torch.full((1,), self.step, device=self.x.device)

    def pairs(self, detached: bool) -> tuple[Tensor, Tensor]:
        """The two walks' (point, prediction), joined along the channels."""
        one, two = torch.cat([self.x, self.fake], dim=1), torch.cat([self.x2, self.fake2], dim=1)
        return (one.detach(), two.detach()) if detached else (one, two)


def discriminator_loss(discriminator: nn.Module, real: Tensor, pair: WalkPair) -> Tensor:
    """Least squares on real target images and on predictions, halved."""
    step = pair.index()
    on_fake = least_squares(discriminator(pair.fake.detach(), step), real=False)
    return 0.5 * (on_fake + least_squares(discriminator(real, step), real=True))


def adversarial_loss(discriminator: nn.Module, pair: WalkPair) -> Tensor:
    """The generator's loss for predictions that D recognises."""
    return least_squares(discriminator(pair.fake, pair.index()), real=True)


def energy_loss(energy: nn.Module, pair: WalkPair) -> Tensor:
    """E's loss: its scores of a walk's own pairs against those of two independent walks."""
    one, two = pair.pairs(detached=True)
    same, crossed = _energies(energy, pair, one, two)
    return -same + crossed + crossed.square()


def bridge_loss(energy: nn.Module, pair: WalkPair, weights: UnsbWeights) -> Tensor:
    """The Schroedinger bridge term: transport cost minus the weighted entropy that E estimates."""
    one, two = pair.pairs(detached=False)
    same, crossed = _energies(energy, pair, one, two)
    remaining = (pair.steps - pair.step) / pair.steps
    cost = (pair.x.float() - pair.fake.float()).square().mean()
    return weights.lambda_sb * weights.tau * (cost - remaining * (same - crossed))


def contrast_loss(
    generator: BridgeGenerator,
    projection: PatchProjection,
    source: Tensor,
    translated: Tensor,
    z: Tensor,
    layers: Sequence[int],
    positions: Sequence[Tensor],
) -> Tensor:
    """Patch-wise contrast (Park et al. 2020): a patch of ``translated`` must match its patch of ``source``.

    Args:
        generator: its encoder computes the features, at step 0.
        projection: F.
        source: float32 B x C x H x W in [-1, 1]; gives the keys, without gradient.
        translated: gives the queries.
        z: noise, B x z_width, the same for both.
        layers: feature indices.
        positions: flat positions, int64, for each layer.

    Returns:
        the mean cross-entropy over patches and layers, unweighted.
    """
    step = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    with no_grad():
        keys = generator.features(source, step, z, layers)
    return contrast.contrast_loss(projection, generator.features(translated, step, z, layers), keys, positions)


def _energies(energy: nn.Module, pair: WalkPair, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    step = pair.index()
    same: Tensor = energy(one, step, one).float().mean()
    crossed = torch.logsumexp(energy(one, step, two).float().flatten(), dim=0)
    return same, crossed
