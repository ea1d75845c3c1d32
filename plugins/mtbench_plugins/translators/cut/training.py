"""CUT's training: the discriminator, then the generator together with F."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mtbench.training import Losses, Part, Step, seeded
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.adversarial import discriminator_loss
from mtbench_plugins.translators._shared.contrast import PatchProjection, draw_positions
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.recipe import TranslationRecipe, adam
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.cut.losses import Contrast, CutWeights, Translations, generator_losses

BESIDE_BLOCKS = 12
"""Entries of the generator before its residual blocks; the contrast looks no further than the last block."""


class CutRecipe(TranslationRecipe):
    """Generator, discriminator and patch projection, each with its optimiser.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate now and then, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        channels, ngf, blocks = params["channels"] or 1, params["ngf"] or 64, params["n_blocks"] or 9
        self.layers = sorted({int(n) for n in params["nce_layers"] if int(n) < BESIDE_BLOCKS + blocks})
        with seeded(seed):
            self.G = ResnetGenerator(channels, ngf, blocks, antialias=True)
            self.D = PatchGAN(channels, params["ndf"], params["n_layers_D"], antialias=True)
            with torch.no_grad():
                maps = self.G.features(torch.zeros(1, channels, 32, 32), self.layers)
            self.F = PatchProjection([map_.shape[1] for map_ in maps], params["netF_nc"])
            networks = {"G": self.G, "D": self.D, "F": self.F}
            for network in networks.values():
                init.xavier(network)
        self.weights = CutWeights(params["lambda_GAN"], params["lambda_NCE"], params["nce_idt"])
        self.flips, self.patches = params["flip_equivariance"], params["num_patches"]
        super().__init__(
            params,
            preview,
            networks=networks,
            optimisers={name: adam(params, network.parameters()) for name, network in networks.items()},
        )

    def translated(self, source: Tensor) -> Tensor:
        """See the base class."""
        out: Tensor = self.G(source)
        return out

    def step(self, step: Step) -> None:
        """One translation for both updates."""
        flipped = bool(self.flips and step.rng.random() < 0.5)
        step.forward(lambda part: self._translate(part, flipped))
        step.update("D", lambda part: {"D": discriminator_loss(self.D, part["images"].b, part["images"].fake_b)})
        step.update(["G", "F"], self._generator_losses)

    def _translate(self, part: Part, flipped: bool) -> None:
        a, b = self.signed(part["source"]), self.signed(part["target"])
        inputs = torch.cat([a, b]) if self.weights.identity else a
        out = self.G(inputs.flip(-1) if flipped else inputs)
        part["images"] = Translations(a, b, out[: len(a)], out[len(a) :], flipped)

    def _generator_losses(self, part: Part) -> Losses:
        images: Translations = part["images"]
        draw = partial(draw_positions, patches=self.patches, device=str(images.a.device))
        return generator_losses(self.D, Contrast(self.G, self.F, self.layers, draw), images, self.weights)
