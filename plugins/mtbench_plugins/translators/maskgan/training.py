"""MaskGAN's training: CycleGAN's steps with attention, masks and clipped gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from torch import Tensor, nn
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
from mtbench_plugins.translators.maskgan.losses import Networks, Weights, generator_losses
from mtbench_plugins.translators.maskgan.networks import AttentionGenerator, Translated

CLIP = 1.0
"""Largest norm of the generators' gradient."""


class MaskGanRecipe(Recipe):
    """The four networks, one optimiser for both generators, one for both discriminators.

    As in the released code, whose general initialisation is switched off: residual blocks start from
    N(0, 0.02), all other layers from PyTorch's default. Only the generators' gradients are clipped.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate now and then, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        self.channels = params["channels"] or 1
        shape = (self.channels, params["ngf"] or 64, params["n_blocks"] or 9, params["n_attentions"] or 5)
        with seeded(seed):
            generators = [AttentionGenerator(*shape) for _ in range(2)]
            discriminators: list[nn.Module] = [
                PatchGAN(self.channels, params["ndf"], params["n_layers_D"]) for _ in range(2)
            ]
            for generator in generators:
                init.normal(generator.resnet_blocks)
        self.nets = Networks(*generators, *discriminators)
        self.final = Weights(
            params["lambda_A"],
            params["lambda_B"],
            params["lambda_identity"],
            params["lambda_mask"],
            params["lambda_shape"],
            params["shape_loss"],
        )
        self.weights = self.final
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
        """Learning rates constant, then linearly to zero; the shape term's weight linearly from zero."""
        scale_rates(self.optimisers.values(), linear_decay(moment, self.hold))
        done = moment.fraction if moment.epochs is None else (moment.epoch + 1) / (moment.epochs + 1)
        self.weights = replace(self.final, lambda_shape=self.final.lambda_shape * done)

    def step(self, step: Step) -> None:
        """Generators first; the discriminators then see their translations, by way of the pools."""

        def generators(part: Part) -> Losses:
            part["a"], part["b"] = self.signed(part["source"]), self.signed(part["target"])
            mask_a, mask_b = part["source_mask"][:, None].float(), part["target_mask"][:, None].float()
            losses, part["fakes"] = generator_losses(self.nets, part["a"], part["b"], mask_a, mask_b, self.weights)
            return losses

        def discriminators(part: Part) -> Losses:
            fake_b = self.extras["pool_B"].query(part["fakes"].B, step.rng)
            fake_a = self.extras["pool_A"].query(part["fakes"].A, step.rng)
            return {
                "D_A": discriminator_loss(self.nets.D_A, part["b"], fake_b),
                "D_B": discriminator_loss(self.nets.D_B, part["a"], fake_a),
            }

        step.update("G", generators, clip=CLIP)
        step.update("D", discriminators)

    def signed(self, images: Tensor) -> Tensor:
        """B x 1 x H x W in [0, 1] to B x C x H x W in [-1, 1]."""
        return signed(images).expand(-1, self.channels, -1, -1)

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """The preview, its translation and its background attention."""
        source = self.preview.to(next(self.nets.G_A.parameters()).device)
        made: Translated = self.nets.G_A(self.signed(source))
        return {
            "source": source,
            "translated": unsigned(made.image.float().mean(dim=1, keepdim=True)),
            "background": made.background.float(),
        }
