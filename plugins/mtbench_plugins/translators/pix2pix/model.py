"""pix2pix as a translator."""

from __future__ import annotations

from mtbench import Context, DataError, TrainingData
from mtbench.compute.seeds import derive
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.pix2pix.checkpoint import LAYOUT
from mtbench_plugins.translators.pix2pix.networks import FEWEST
from mtbench_plugins.translators.pix2pix.training import Pix2PixRecipe

MOST = 8
"""Halvings of the original's ``unet_256``."""


class Pix2Pix(GeneratorTranslator):
    """Isola et al. 2017: a U-Net that must be near the truth and pass a PatchGAN that sees it beside the source.

    Trained as the original is: initial weights N(0, 0.02), cross-entropy, 100 times the mean absolute difference,
    dropout, Adam at 2e-4 for 100 epochs and falling to zero over another 100, batch 1, pairs enlarged to 286/256,
    cropped at random and mirrored, both alike. The U-Net halves as often as the image's sides can be halved, at most
    8 times. Translation uses the stored statistics and no dropout (the original's ``--eval``).
    """

    name = "pix2pix"
    file = "latest_net_G.pth"
    instance_norm = False

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return LAYOUT

    @property
    def multiple(self) -> int:  # type: ignore[override]
        """Of which the sides must be: the U-Net's of its halvings, the resnet's 4."""
        return int(2 ** (self.sizes(self.network) if self.network else {}).get("n_downs", 2))

    @property
    def smallest(self) -> int:  # type: ignore[override]
        """Reflection adds less than the image has."""
        return max(8, self.multiple // 2 + 1)

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on pairs.

        Raises:
            DataError: there are no pairs, or images or crops that the generator cannot take.
            TrainingError: see ``mtbench.training.train``.
        """
        source, _ = data.pairs()
        size = self._size(source.size)
        multiple = 2 ** size.get("n_downs", 2)
        sampler = fitting.pairs(data, params=self.params, multiple=multiple, smallest=32, jitter=True)
        images = fitting.preview(data.source_validation, source).tensor()
        recipe = Pix2PixRecipe(self.params, size, derive(context.seed, "initial weights"), images)
        self.network = recipe.G
        recipe.preview = self.padded(images)
        self.train(recipe, sampler, context, epochs=200)

    def _size(self, image: tuple[int, int]) -> dict[str, int]:
        if self.params["netG"] == "resnet":
            return {"n_blocks": self.params["n_blocks"] or 9}
        sides = (self.params["crop_size"],) * 2 if self.params["crop_size"] else image
        halvings = [n for n in range(FEWEST, MOST + 1) if all(side % 2**n == 0 for side in sides)]
        downs = self.params["n_downs"] or (halvings[-1] if halvings else FEWEST)
        if downs < FEWEST:
            raise DataError(f"n_downs is {downs}", where=self.name, expected=f"at least {FEWEST} halvings")
        return {"n_downs": downs}
