"""pix2pix's training: the discriminator on pairs, then the generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtbench.training import Part, Step, seeded
from mtbench_plugins.translators._shared import fitting, init
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.recipe import TranslationRecipe, adam
from mtbench_plugins.translators.pix2pix.checkpoint import build
from mtbench_plugins.translators.pix2pix.losses import generator_losses, pair_loss


class Pix2PixRecipe(TranslationRecipe):
    """Generator and discriminator start from N(0, 0.02).

    Args:
        params: of the translator.
        size: of the generator, ``n_downs`` or ``n_blocks``.
        seed: of the initial weights.
        preview: images to translate now and then, B x C x H x W in [0, 1], sides that the generator takes.
    """

    def __init__(self, params: Mapping[str, Any], size: Mapping[str, int], seed: int, preview: Tensor) -> None:
        channels, ngf = params["channels"] or 1, params["ngf"] or 64
        inputs = fitting.inputs(preview, params)
        with seeded(seed):
            self.G = build(params["netG"] or "unet", channels, ngf, inputs=inputs, dropout=params["dropout"], **size)
            self.D = PatchGAN(inputs + channels, params["ndf"], params["n_layers_D"], norm="batch")
            init.normal(self.G)
            init.normal(self.D)
        self.lambda_l1 = params["lambda_L1"]
        super().__init__(
            params,
            preview,
            networks={"G": self.G, "D": self.D},
            optimisers={"G": adam(params, self.G.parameters()), "D": adam(params, self.D.parameters())},
        )

    def translated(self, source: Tensor) -> Tensor:
        """See the base class."""
        out: Tensor = self.G(source)
        return out

    def step(self, step: Step) -> None:
        """One translation for both updates."""
        step.forward(self._translate)
        step.update("D", lambda part: {"D": pair_loss(self.D, part["a"], part["b"], part["fake"])})
        step.update("G", lambda part: generator_losses(self.D, part["a"], part["b"], part["fake"], self.lambda_l1))

    def _translate(self, part: Part) -> None:
        part["a"], part["b"] = self.signed(part["source"]), self.signed(part["target"])
        part["fake"] = self.G(part["a"])
