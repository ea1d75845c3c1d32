"""CUT as a translator."""

from __future__ import annotations

from typing import Any, ClassVar

from mtbench import Context, TrainingData
from mtbench.compute.seeds import derive
from mtbench.errors import ParamError
from mtbench.training import UnpairedSampler
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.cut.checkpoint import LAYOUT
from mtbench_plugins.translators.cut.training import BESIDE_BLOCKS, CutRecipe


class Cut(GeneratorTranslator):
    """Park et al. 2020: one generator whose patches must recall their source patches, against a PatchGAN.

    Trained as the original is: initial weights by Glorot with gain 0.02, Adam at 2e-4 for 200 epochs and
    falling to zero over another 200, batch 1, images enlarged to 286/256, cropped at random and mirrored, no pool.

    Raises:
        ParamError: no feature layer is left.
    """

    name = "cut"
    file = "latest_net_G.pth"
    multiple = 4
    smallest = 8
    epochs: ClassVar[int] = 400

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        last = BESIDE_BLOCKS + (params["n_blocks"] or 9)
        layers = params["nce_layers"]
        if not all(isinstance(n, int) and n >= 0 for n in layers) or not any(n < last for n in layers):
            raise ParamError(f"nce_layers is {layers!r}", where=self.name, expected=f"integers, some below {last}")

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
        recipe = CutRecipe(self.params, derive(context.seed, "initial weights"), preview)
        sampler = UnpairedSampler(source, target, augment=augment)
        self.network = recipe.G
        self.train(recipe, sampler, context, epochs=self.epochs)


class FastCut(Cut):
    """CUT without its identity term, with ten times the contrast, and for 150 + 50 epochs.

    In half of the steps the source is mirrored before it is translated, and its feature maps are mirrored back.
    """

    name = "fastcut"
    epochs = 200
