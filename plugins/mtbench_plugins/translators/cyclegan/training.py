"""CycleGAN's training: two generators, then two discriminators, at each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtbench.training import Losses, Part, seeded
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.cycle import CycleRecipe, Fakes, Networks
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.cyclegan.losses import CycleGanWeights, generator_losses


class CycleGanRecipe(CycleRecipe):
    """All four networks start from N(0, 0.02).

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate at intervals, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        channels = params["channels"] or 1
        with seeded(seed):
            generators = [ResnetGenerator(channels, params["ngf"] or 64, params["n_blocks"] or 9) for _ in range(2)]
            discriminators = [PatchGAN(channels, params["ndf"], params["n_layers_D"]) for _ in range(2)]
            for network in (*generators, *discriminators):
                init.normal(network)
        self.weights = CycleGanWeights(params["lambda_A"], params["lambda_B"], params["lambda_identity"])
        super().__init__(params, Networks(*generators, *discriminators), preview)

    def generator_losses(self, part: Part) -> tuple[Losses, Fakes]:
        """See the base class."""
        return generator_losses(self.nets, part["a"], part["b"], self.weights)
