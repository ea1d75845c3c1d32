"""MaskGAN's training: CycleGAN's steps with attention, masks and clipped gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from mtbench.training import Losses, Moment, Part, seeded
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.cycle import CycleRecipe, Fakes, Networks
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.recipe import grey
from mtbench_plugins.translators.maskgan.losses import MaskGanWeights, generator_losses
from mtbench_plugins.translators.maskgan.networks import AttentionGenerator, MaskedTranslation


class MaskGanRecipe(CycleRecipe):
    """As in the released code, whose general initialisation is switched off, residual blocks start from
    N(0, 0.02) and all other layers from PyTorch's default.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate at intervals, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    clip = 1.0

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        channels = params["channels"] or 1
        shape = (channels, params["ngf"] or 64, params["n_blocks"] or 9, params["n_attentions"] or 5)
        with seeded(seed):
            generators = [AttentionGenerator(*shape) for _ in range(2)]
            discriminators: list[nn.Module] = [
                PatchGAN(channels, params["ndf"], params["n_layers_D"]) for _ in range(2)
            ]
            for generator in generators:
                init.normal(generator.resnet_blocks)
        self.final = MaskGanWeights(
            params["lambda_A"],
            params["lambda_B"],
            params["lambda_identity"],
            params["lambda_mask"],
            params["lambda_shape"],
            params["shape_loss"],
        )
        self.weights = self.final
        super().__init__(params, Networks(*generators, *discriminators), preview)

    def schedule(self, moment: Moment) -> None:
        """Learning rates as in CycleGAN; the shape term's weight linearly from zero."""
        super().schedule(moment)
        progress = moment.fraction if moment.epochs is None else (moment.epoch + 1) / (moment.epochs + 1)
        self.weights = replace(self.final, lambda_shape=self.final.lambda_shape * progress)

    def generator_losses(self, part: Part) -> tuple[Losses, Fakes]:
        """See the base class."""
        mask_a, mask_b = (part[name][:, None].float() for name in ("source_mask", "target_mask"))
        return generator_losses(self.nets, part["a"], part["b"], mask_a, mask_b, self.weights)

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """The preview, its translation and its background attention."""
        source = self.preview_source()
        translation: MaskedTranslation = self.nets.G_A(self.signed(source))
        return {
            "source": source,
            "translated": grey(translation.image),
            "background": translation.background.float(),
        }
