"""MaskGAN as a translator."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from mtbench import Batch, Context, ImageSet, TrainingData
from mtbench.compute.seeds import derive
from mtbench.training import UnpairedSampler
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.maskgan.checkpoint import LAYOUT
from mtbench_plugins.translators.maskgan.masks import backgrounds, positions
from mtbench_plugins.translators.maskgan.training import MaskGanRecipe


class MaskGan(GeneratorTranslator):
    """Phan et al. 2023: CycleGAN whose generators have attention maps, with the background attention tied to a coarse
    mask.

    The masks are computed from the images (``maskgan.masks``); label maps are not used. Trained as in the original's
    README: mask term 1, shape term growing to 0.5, batch 4, Adam at 2e-4 for 40 epochs and falling to zero over another
    40, gradients clipped at 1, no enlarging and no mirroring; slices are paired with slices at similar positions in
    their volumes, or the nearest if none lies within ``position_based_range``. The last generator, ``G_A``, is kept:
    the original selects the best by paired validation, which needs pairs.
    """

    name = "maskgan"
    file = "latest_net_G_A.pth"
    multiple = 4
    smallest = 8

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return LAYOUT

    def forward(self, network: nn.Module, x: Tensor, batch: Batch, context: Context) -> Tensor:
        """See the base class."""
        out: Tensor = network(x).image
        return out

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on unpaired slices of both domains.

        Raises:
            DataError: a domain is missing, or crops would be smaller than 32 pixels.
            TrainingError: see ``mtbench.training.train``.
        """
        source, target = fitting.domains(data)
        augment = fitting.augmentation(self.params, source.size, multiple=4, smallest=32, jitter=False)
        preview = self.padded(fitting.preview(data.source_validation, source).tensor())
        recipe = MaskGanRecipe(self.params, derive(context.seed, "initial weights"), preview)
        near = LikePosition(source, target, self.params["position_based_range"])
        sampler = UnpairedSampler(
            source,
            target,
            augment=augment,
            masks=(self._masks(source, context), self._masks(target, context)),
            partner=near,
        )
        self.network = recipe.networks["G_A"]
        self.train(recipe, sampler, context, epochs=80)

    def _masks(self, images: ImageSet, context: Context) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        masks = backgrounds(images, self.params["mask_threshold"], self.params["mask_dilation"])
        share = float(masks.mean())
        if not 0.01 < share < 0.99:
            context.log.append(
                f"coarse masks mark {share:.0%} of the {images.domain} images as background: check mask_threshold"
            )
        return masks


class LikePosition:
    """Draws a target slice at the position of the source slice, within ``reach`` per cent of the volume."""

    def __init__(self, source: ImageSet, target: ImageSet, reach: float) -> None:
        self._source, self._target, self._reach = positions(source.slices), positions(target.slices), reach

    def __call__(self, rng: np.random.Generator, index: int) -> int:
        """The target's index for the source slice ``index``."""
        distance = np.abs(self._target - self._source[index])
        return int(rng.choice(np.flatnonzero(distance <= max(self._reach, distance.min()))))
