"""CycleGAN as a translator."""

from __future__ import annotations

from mtbench import Context, TrainingData
from mtbench.compute.seeds import derive
from mtbench.training import UnpairedSampler
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.cyclegan.checkpoint import LAYOUT
from mtbench_plugins.translators.cyclegan.training import CycleGanRecipe


class CycleGan(GeneratorTranslator):
    """Zhu et al. 2017: two generators that invert each other, each against a PatchGAN.

    Trained as the original is: networks, initial weights N(0, 0.02), least-squares losses, pools of 50, Adam
    at 2e-4 for 100 epochs and falling to zero over another 100, batch 1, images enlarged to 286/256, cropped
    at random and mirrored. The generator from source to target, ``G_A``, is kept.
    """

    name = "cyclegan"
    file = "latest_net_G_A.pth"
    multiple = 4
    smallest = 8

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return LAYOUT

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on unpaired slices of both domains.

        Raises:
            DataError: a domain is missing, or crops would be smaller than 32 pixels.
            TrainingError: see ``mtbench.training.train``.
        """
        source, target = fitting.domains(data)
        augment = fitting.augmentation(self.params, source.size, multiple=4, smallest=32, jitter=True)
        preview = self.padded(fitting.preview(data.source_validation, source).tensor())
        recipe = CycleGanRecipe(self.params, derive(context.seed, "initial weights"), preview)
        sampler = UnpairedSampler(source, target, augment=augment)
        self.network = recipe.networks["G_A"]
        self.train(recipe, sampler, context, epochs=200)
