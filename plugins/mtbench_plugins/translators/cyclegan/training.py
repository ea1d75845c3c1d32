"""CycleGAN's training: two generators, then two discriminators, at each step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from torch import Tensor
from torch.optim import Adam

from mtbench.training import (
    ImagePool,
    Losses,
    Moment,
    Part,
    Recipe,
    Step,
    linear_decay,
    scale_rates,
    seeded,
    signed,
    unsigned,
)
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.adversarial import discriminator_loss
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators.cyclegan.losses import Networks, Weights, generator_losses
from mtbench_plugins.translators.cyclegan.networks import ResnetGenerator


class CycleGanRecipe(Recipe):
    """The four networks, one optimiser for both generators, one for both discriminators.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate now and then, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        self.channels = params["channels"] or 1
        with seeded(seed):
            generators = [
                ResnetGenerator(self.channels, params["ngf"] or 64, params["n_blocks"] or 9) for _ in range(2)
            ]
            discriminators = [PatchGAN(self.channels, params["ndf"], params["n_layers_D"]) for _ in range(2)]
            for network in (*generators, *discriminators):
                init.normal(network)
        self.nets = Networks(*generators, *discriminators)
        self.weights = Weights(params["lambda_A"], params["lambda_B"], params["lambda_identity"])
        self.hold = 1.0 - params["decay"]
        self.preview = preview
        adam = {"lr": params["lr"], "betas": (params["beta1"], params["beta2"])}
        super().__init__(
            networks=vars(self.nets),
            optimisers={
                "G": Adam(chain(*(g.parameters() for g in generators)), **adam),
                "D": Adam(chain(*(d.parameters() for d in discriminators)), **adam),
            },
            extras={"pool_A": ImagePool(params["pool_size"]), "pool_B": ImagePool(params["pool_size"])},
        )

    def schedule(self, moment: Moment) -> None:
        """Constant, then linearly to zero."""
        scale_rates(self.optimisers.values(), linear_decay(moment, self.hold))

    def step(self, step: Step) -> None:
        """Generators first; the discriminators then see their translations, by way of the pools."""

        def generators(part: Part) -> Losses:
            part["a"], part["b"] = self.signed(part["source"]), self.signed(part["target"])
            losses, part["fakes"] = generator_losses(self.nets, part["a"], part["b"], self.weights)
            return losses

        def discriminators(part: Part) -> Losses:
            fake_b = self.extras["pool_B"].query(part["fakes"].B, step.rng)
            fake_a = self.extras["pool_A"].query(part["fakes"].A, step.rng)
            return {
                "D_A": discriminator_loss(self.nets.D_A, part["b"], fake_b),
                "D_B": discriminator_loss(self.nets.D_B, part["a"], fake_a),
            }

        step.update("G", generators)
        step.update("D", discriminators)

    def signed(self, images: Tensor) -> Tensor:
        """B x 1 x H x W in [0, 1] to B x C x H x W in [-1, 1]."""
        return signed(images).expand(-1, self.channels, -1, -1)

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """The preview and its translation."""
        source = self.preview.to(next(self.nets.G_A.parameters()).device)
        made = self.nets.G_A(self.signed(source))
        return {"source": source, "translated": unsigned(made.float().mean(dim=1, keepdim=True))}
