"""UNSB as a translator."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mtbench import Batch, Context, TrainingData
from mtbench.compute.seeds import derive
from mtbench.errors import ParamError
from mtbench.training import UnpairedSampler
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.unsb.bridge import Bridge
from mtbench_plugins.translators.unsb.checkpoint import layout
from mtbench_plugins.translators.unsb.generator import ENCODER_LAYERS
from mtbench_plugins.translators.unsb.training import TwoSources, UnsbRecipe


class Unsb(GeneratorTranslator):
    """Kim et al. 2024: a Schroedinger bridge from source to target, trained adversarially and simulated in few steps.

    By default the generator is that of the released code and its weight files, which ignores the time step.
    ``time_conditioning="corrected"`` trains blocks that use it. A translation is the target predicted at the last of
    ``nfe`` steps.

    Trained as the original is: initial weights by Glorot with gain 0.02, all three terms weighing 1, Adam at
    2e-4 for 200 epochs and falling to zero over another 200, batch 1, images enlarged to 286/256, cropped at
    random and mirrored (the original stops enlarging in the second half; this one does not).

    Raises:
        ParamError: ``nfe`` is larger than ``num_timesteps``, or no feature layer remains.
    """

    name = "unsb"
    file = "latest_net_G.pth"
    multiple = 4
    smallest = 8

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.nfe = params["nfe"] or params["num_timesteps"]
        if self.nfe > params["num_timesteps"]:
            raise ParamError(
                f"nfe is {self.nfe}", where="unsb", expected=f"at most num_timesteps, {params['num_timesteps']}"
            )
        last = ENCODER_LAYERS + (params["n_blocks"] or 9)
        layers = params["nce_layers"]
        if not all(isinstance(n, int) and n >= 0 for n in layers) or not any(n < last for n in layers):
            raise ParamError(f"nce_layers is {layers!r}", where="unsb", expected=f"integers, some below {last}")

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return layout(timed=self.params["time_conditioning"] == "corrected")

    def forward(self, network: nn.Module, x: Tensor, batch: Batch, context: Context) -> Tensor:
        """See the base class."""
        width = 4 * self.sizes(network)["ngf"]
        bridge = Bridge(self.params["num_timesteps"], self.params["tau"], width)
        *_, (_, predicted) = bridge.walk(network, x, self.nfe, lambda shape: context.noise(batch, shape))
        return predicted

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on unpaired slices of both domains.

        Raises:
            DataError: a domain is missing, or crops would be smaller than 32 pixels.
            TrainingError: see ``mtbench.training.train``.
        """
        source, target = fitting.domains(data)
        augment = fitting.augmentation(self.params, source.size, multiple=4, smallest=32, jitter=True)
        preview = self.padded(fitting.preview(data.source_validation, source).tensor())
        recipe = UnsbRecipe(self.params, derive(context.seed, "initial weights"), preview)
        sampler = TwoSources(UnpairedSampler(source, target, augment=augment))
        self.network = recipe.networks["G"]
        self.train(recipe, sampler, context, epochs=400)
