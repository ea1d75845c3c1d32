"""The common part of CycleGAN and MaskGAN: two generators that invert each other, each with a discriminator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from torch import Tensor, nn

from mtbench.training import ImagePool, Losses, Part, Step
from mtbench_plugins.translators._shared.adversarial import discriminator_loss
from mtbench_plugins.translators._shared.recipe import TranslationRecipe, adam


@dataclass(frozen=True)
class Networks:
    """``G_A`` maps domain A to B and ``G_B`` back; ``D_A`` discriminates images of domain B, ``D_B`` of domain A."""

    G_A: nn.Module
    G_B: nn.Module
    D_A: nn.Module
    D_B: nn.Module


@dataclass(frozen=True)
class Fakes:
    """Translations of a step: ``A`` are images translated to domain A."""

    A: Tensor
    B: Tensor


class CycleRecipe(TranslationRecipe):
    """One optimiser for both generators, one for both discriminators, a pool of translations for each.

    Args:
        params: of the translator.
        nets: the four networks.
        preview: images to translate at intervals, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    clip: ClassVar[float | None] = None
    """Largest norm of the generators' gradients; the discriminators' are never clipped."""

    def __init__(self, params: Mapping[str, Any], nets: Networks, preview: Tensor) -> None:
        self.nets = nets
        super().__init__(
            params,
            preview,
            networks=vars(nets),
            optimisers={
                "G": adam(params, chain(nets.G_A.parameters(), nets.G_B.parameters())),
                "D": adam(params, chain(nets.D_A.parameters(), nets.D_B.parameters())),
            },
            extras={"pool_A": ImagePool(params["pool_size"]), "pool_B": ImagePool(params["pool_size"])},
        )

    @abstractmethod
    def generator_losses(self, part: Part) -> tuple[Losses, Fakes]:
        """Losses of both generators from ``part["a"]`` and ``part["b"]``, and their translations."""

    def translated(self, source: Tensor) -> Tensor:
        """See the base class."""
        out: Tensor = self.nets.G_A(source)
        return out

    def step(self, step: Step) -> None:
        """First the generators; the discriminators then see translations from the pools."""

        def generators(part: Part) -> Losses:
            part["a"], part["b"] = self.signed(part["source"]), self.signed(part["target"])
            losses, part["fakes"] = self.generator_losses(part)
            return losses

        def discriminators(part: Part) -> Losses:
            fake_b = self.extras["pool_B"].query(part["fakes"].B, step.rng)
            fake_a = self.extras["pool_A"].query(part["fakes"].A, step.rng)
            return {
                "D_A": discriminator_loss(self.nets.D_A, part["b"], fake_b),
                "D_B": discriminator_loss(self.nets.D_B, part["a"], fake_a),
            }

        step.update("G", generators, clip=self.clip)
        step.update("D", discriminators)
