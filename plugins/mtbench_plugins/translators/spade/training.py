"""SPADE's training on target images and their label maps: generator, then discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Adam

from mtbench.compute.transfer import to_device
from mtbench.training import (
    Losses,
    Moment,
    Part,
    Recipe,
    Step,
    linear_decay,
    no_grad,
    scale_rates,
    seeded,
    signed,
    unsigned,
)
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.layers import channels_last
from mtbench_plugins.translators.spade import losses
from mtbench_plugins.translators.spade.labels import Labels
from mtbench_plugins.translators.spade.networks import MultiscaleDiscriminator, SpadeGenerator
from mtbench_plugins.translators.spade.vgg import PerceptualLoss


class SpadeRecipe(Recipe):
    """Generator and multi-scale discriminator, each with its optimiser.

    Args:
        params: of the translator.
        labels: of the task.
        seed: of the initial weights.
        preview: label maps to translate at intervals, one-hot, and the real images that belong to them.
        perceptual: the VGG loss, if its weights are installed.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        labels: Labels,
        seed: int,
        preview: tuple[Tensor, Tensor],
        perceptual: PerceptualLoss | None,
    ) -> None:
        channels = params["channels"] or 1
        with seeded(seed):
            self.G = SpadeGenerator(len(labels), channels, params["ngf"] or 64, params["nhidden"] or 128)
            self.D = MultiscaleDiscriminator(
                len(labels), channels, params["ndf"], params["n_layers_D"], params["num_D"]
            )
            init.xavier(self.G)
            init.xavier(self.D)
        self.labels, self.channels, self.perceptual, self.preview = labels, channels, perceptual, preview
        self.lambda_feat, self.lambda_vgg = params["lambda_feat"], params["lambda_vgg"]
        self.hold = 1.0 - params["decay"]
        slower = 2.0 if params["ttur"] else 1.0
        betas = (params["beta1"], params["beta2"])
        super().__init__(
            networks={"G": self.G, "D": self.D},
            optimisers={
                "G": Adam(self.G.parameters(), lr=params["lr"] / slower, betas=betas),
                "D": Adam(self.D.parameters(), lr=params["lr"] * slower, betas=betas),
            },
            frozen={"vgg": perceptual} if perceptual is not None else {},
        )

    def schedule(self, moment: Moment) -> None:
        """Constant, then linearly to zero."""
        scale_rates(self.optimisers.values(), linear_decay(moment, self.hold))

    def step(self, step: Step) -> None:
        """The discriminator scores images generated after the generator's update, as in the original."""

        def generator(part: Part) -> Losses:
            part["segmap"] = self.labels.one_hot(part["image_mask"])
            part["real"] = channels_last(signed(part["image"]).expand(-1, self.channels, -1, -1))
            fake = self.G(part["segmap"])
            terms = losses.generator_losses(*losses.judge(self.D, part["segmap"], fake, part["real"]), self.lambda_feat)
            if self.perceptual is not None:
                terms["VGG"] = self.lambda_vgg * self.perceptual(fake, part["real"])
            return terms

        def discriminator(part: Part) -> Losses:
            with no_grad():
                fake = self.G(part["segmap"])
            return losses.discriminator_losses(*losses.judge(self.D, part["segmap"], fake, part["real"]))

        step.update("G", generator)
        step.update("D", discriminator)

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """Real images and the images generated from their label maps."""
        segmap, real = self.preview
        translation = self.G(to_device(segmap, str(self.G.fc.weight.device)))
        return {"real": real, "translated": unsigned(translation.float().mean(dim=1, keepdim=True))}
