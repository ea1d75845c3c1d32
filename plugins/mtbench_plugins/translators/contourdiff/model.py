"""ContourDiff as a translator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtbench import Batch, Context, DataError, ImageSet, PluginError, TrainingData
from mtbench.compute.seeds import derive
from mtbench.errors import ParamError
from mtbench.training import PairedSampler, unsigned
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.translator import GeneratorTranslator
from mtbench_plugins.translators.contourdiff import checkpoint
from mtbench_plugins.translators.contourdiff.augment import augmentation
from mtbench_plugins.translators.contourdiff.contours import Contours
from mtbench_plugins.translators.contourdiff.diffusion import Diffusion
from mtbench_plugins.translators.contourdiff.training import ContourDiffRecipe, predictor
from mtbench_plugins.translators.contourdiff.unet import LEVELS, DenoisingUNet, UNetConfig


class ContourDiff(GeneratorTranslator):
    """Chen et al. 2024: a diffusion model of the target domain, guided by the contours of the slice.

    Trained on target slices alone, as the original is: their Canny contours as a second channel, AdamW at 1e-4 with 500
    steps of warm-up and a cosine to zero, batch 4, 400 epochs, images shifted, mirrored and deformed. A translation is
    sampled from noise with the contours of the source slice.

    Raises:
        ParamError: fewer than two levels, more steps in sampling than in training, or a ``choice`` without candidates.
    """

    name = "contourdiff"
    file = "unet"
    instance_norm = False

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if (params["levels"] or LEVELS) < 2:
            raise ParamError(f"levels is {params['levels']}", where=self.name, expected="at least 2")
        if params["denoise_step"] > params["noise_step"]:
            raise ParamError(
                f"denoise_step is {params['denoise_step']}",
                where=self.name,
                expected=f"at most noise_step, {params['noise_step']}",
            )
        if params["choice"] == "neighbour" and params["candidates"] < 2:
            what = "choice is 'neighbour' and there is one candidate"
            raise ParamError(what, where=self.name, expected="candidates of at least 2")
        self.contours = Contours.of(params)
        self.diffusion = Diffusion(params["noise_step"], params["denoise_step"], params["sampler"])

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return checkpoint.layout(UNetConfig.of(self.params))

    @property
    def multiple(self) -> int:  # type: ignore[override]
        """Of which the sides must be: the network halves them at each level but the last."""
        config = self.network.config if isinstance(self.network, DenoisingUNet) else UNetConfig.of(self.params)
        return int(2 ** (len(config.widths) - 1))

    @property
    def smallest(self) -> int:  # type: ignore[override]
        """Reflection adds less than the image has."""
        return max(8, self.multiple // 2 + 1)

    def read(self, path: Path) -> nn.Module:
        """See the base class; ``path`` is a folder of diffusers or the weight file in it."""
        return checkpoint.read(path, self.params)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote, or a folder of the original."""
        self.network = self.read(folder)

    def save_generator(self, folder: Path) -> None:
        """Write the folder ``unet``, which the original's translation scripts load.

        Raises:
            PluginError: there is no network.
        """
        if not isinstance(self.network, DenoisingUNet):
            raise PluginError(f"{self.name} is neither trained nor loaded")
        checkpoint.write(self.network, folder / self.file)

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on target slices and their contours.

        Raises:
            DataError: there are no target slices, no slice has a contour, or the images do not fit the network.
            TrainingError: see ``mtbench.training.train``.
        """
        source, target = fitting.domains(data)
        self._check_size(target)
        contours = self._contours_of(target, context)
        images = fitting.preview(data.source_validation, source).tensor()
        preview, guides = self.padded(images), self.padded(self.guides(images))
        recipe = ContourDiffRecipe(self.params, derive(context.seed, "initial weights"), preview, guides)
        augment = augmentation(
            target.size, shift=self.params["shift"], mirror=self.params["flip"], affine=self.params["affine"]
        )
        self.network = recipe.G
        self.train(recipe, PairedSampler(target, contours, augment=augment), context, epochs=400)

    def generate(self, network: nn.Module, batch: Batch, context: Context) -> Tensor:
        """The chosen candidates, B x 1 x H x W in [-1, 1]."""
        candidates = list(self.candidates(network, batch, context))
        if len(candidates) == 1:
            return candidates[0] * 2.0 - 1.0
        stacked = torch.stack(candidates)
        darkest = eight_bits(stacked).mean(dim=(2, 3, 4)).argmin(dim=0)
        return stacked[darkest, torch.arange(len(batch), device=stacked.device)] * 2.0 - 1.0

    def candidates(self, network: nn.Module, batch: Batch, context: Context) -> Iterator[Tensor]:
        """Samples for the contours of a batch, each B x 1 x H x W in [0, 1]."""
        guides = self.guides(batch.source)
        if not bool(guides.flatten(1).any(dim=1).all()):
            context.remark(
                f"Some source slices have no contours {self._thresholds}; their translations depend on noise alone."
            )
        guides = self.padded(guides)
        height, width = batch.source.shape[2:]
        for _ in range(self.params["candidates"]):
            out = self.diffusion.sample(
                predictor(network, guides), lambda: context.noise(batch, tuple(guides.shape[1:]))
            )
            yield self._finished(unsigned(out)[:, :, :height, :width])

    def guides(self, images: Tensor) -> Tensor:
        """The contours of B x 1 x H x W images in [0, 1], float32 of 0 and 1, on their device."""
        maps = self.contours.find_all(images[:, 0].float().cpu().numpy())
        return torch.from_numpy(maps).to(images.device).float()[:, None]

    def _finished(self, images: Tensor) -> Tensor:
        if not self.params["stretch"]:
            return images
        low, high = (edge.view(-1, 1, 1, 1) for edge in (images.flatten(1).amin(1), images.flatten(1).amax(1)))
        return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-12), images)

    def _contours_of(self, target: ImageSet, context: Context) -> NDArray[np.uint8]:
        contours = np.concatenate([self.contours.find_all(target.floats([i])[:, 0]) for i in range(len(target))])
        empty = int((~contours.any(axis=(1, 2))).sum())
        if empty == len(target):
            raise DataError(
                f"no target slice has a contour {self._thresholds}",
                where=target.task.dataset,
                expected="contours to train on",
                remedy="Set lower thresholds (low_threshold, high_threshold)"
                + (" or a smaller min_size" if self.params["remove_artifact"] else ""),
            )
        if empty:
            context.remark(f"{empty} of {len(target)} target training slices have no contours {self._thresholds}.")
        return contours

    @property
    def _thresholds(self) -> str:
        text = f"at thresholds {self.contours.low:g} and {self.contours.high:g}"
        return text + (f" and min_size {self.contours.min_size}" if self.contours.remove_artifact else "")

    def _check_size(self, images: ImageSet) -> None:
        if any(side % self.multiple for side in images.size):
            raise DataError(
                f"training on images of {images.size[0]} x {images.size[1]} is not possible",
                where=images.task.dataset,
                expected=f"sides that are multiples of {self.multiple}",
                remedy=f"Store images of another size, or set levels below {self.params['levels'] or LEVELS}",
            )


class ContourDiffByVolume(ContourDiff):
    """The same, slice by slice through each volume.

    Of a volume's first slice the darkest candidate is taken; of every other, the one nearest to the slice before.
    """

    def translate_all(self, images: ImageSet, context: Context) -> Iterator[NDArray[np.float32]]:
        """H x W in [0, 1], for each slice in order.

        Raises:
            WeightsError: the checkpoint cannot be used.
            DataError: the images are too small.
        """
        network = self._ready(context.device)
        done = np.empty((len(images), *images.size), np.float32)
        before: Tensor | None = None
        order = sorted(range(len(images)), key=lambda i: (images.slices[i].case_id, images.slices[i].index))
        for count, i in enumerate(order):
            if count and images.slices[i].case_id != images.slices[order[count - 1]].case_id:
                before = None
            batch = images.batch(slice(i, i + 1), context.device)
            with torch.inference_mode(), context.autocast():
                candidates = torch.cat(list(self.candidates(network, batch, context)))
                before = candidates[nearest(candidates, before)]
            done[i] = before[0].cpu().numpy()
            context.progress(count + 1, len(images), {})
        yield from done


def nearest(candidates: Tensor, before: Tensor | None) -> int:
    """The candidate with the lowest mean squared difference to ``before``, in grey levels; without it, the darkest.

    Args:
        candidates: K x 1 x H x W in [0, 1].
        before: 1 x H x W in [0, 1].
    """
    levels = eight_bits(candidates)
    values = levels if before is None else (levels - eight_bits(before)).square()
    return int(values.mean(dim=(1, 2, 3)).argmin())


def eight_bits(images: Tensor) -> Tensor:
    """Images in [0, 1] as whole grey levels from 0 to 255, float32."""
    return (images.float() * 255.0).round()


def create(**params: Any) -> ContourDiff:
    """The translator; one that receives all slices at once if neighbours decide between candidates."""
    return (ContourDiffByVolume if params["choice"] == "neighbour" else ContourDiff)(**params)
