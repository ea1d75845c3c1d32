"""From the shared parameters to budgets, augmentation and the call of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mtbench import Context, DataError, ImageSet, TrainingData
from mtbench.training import (
    AlignedSampler,
    Augmentation,
    Budget,
    History,
    Recipe,
    Sampler,
    chain,
    flip,
    resize_crop,
    train,
)

Params = Mapping[str, Any]
PREVIEWS = 4
"""Images in each strip of samples."""
LOOKS = 10
"""Strips of samples per fit, if its length in epochs is known."""


def domains(data: TrainingData) -> tuple[ImageSet, ImageSet]:
    """The training slices of source and target.

    Raises:
        DataError: a domain is missing, or the two are stored in different sizes.
    """
    source, target = data.source_train, data.target_train
    if source is None or target is None:
        raise DataError("a translator needs training slices of both domains", where=data.task.dataset)
    if source.size != target.size:
        raise DataError(
            f"source images are {_size(source.size)} and target images {_size(target.size)}",
            where=data.task.dataset,
            expected="one size",
        )
    return source, target


def pairs(data: TrainingData, *, multiple: int, smallest: int, params: Params, jitter: bool) -> AlignedSampler:
    """The training pairs, augmented as the parameters say; see :func:`augmentation`."""
    source, truth = data.pairs()
    augment = augmentation(params, source.size, multiple=multiple, smallest=smallest, jitter=jitter)
    return AlignedSampler((source, truth), augment=augment)


def inputs(preview: Tensor, params: Params) -> int:
    """The input channels of a network for pairs: those of the source slices, or if these are grey ``channels``."""
    return int(preview.shape[1]) if preview.shape[1] > 1 else params["channels"] or 1


def augmentation(params: Params, size: tuple[int, int], *, multiple: int, smallest: int, jitter: bool) -> Augmentation:
    """Resize, random crop and flip, as the parameters say.

    Args:
        params: with ``load_size``, ``crop_size`` and ``flip``.
        size: of the stored images.
        multiple: of which the crop must be.
        smallest: crop that the networks can be trained on.
        jitter: whether images are enlarged by 286/256 if ``load_size`` is not set.

    Raises:
        DataError: the images or the crop do not fit the networks.
    """
    crop: tuple[int, ...] = (
        (params["crop_size"],) * 2 if params["crop_size"] else tuple(n // multiple * multiple for n in size)
    )
    if min(crop) < smallest or any(n % multiple for n in crop):
        raise DataError(
            f"training on crops of {_size(crop)} (images of {_size(size)}) is not possible",
            expected=f"at least {smallest} pixels a side and a multiple of {multiple}",
            remedy="Store larger images or set another crop_size",
        )
    load: tuple[int, ...]
    if params["load_size"]:
        load = (params["load_size"],) * 2
    elif jitter:
        load = tuple(round(n * 286 / 256) for n in size)
    else:
        load = size
    if any(c > n for c, n in zip(crop, load, strict=True)):
        raise DataError(f"crops of {_size(crop)} cannot be cut out of images resized to {_size(load)}")
    return chain(resize_crop((load[0], load[1]), (crop[0], crop[1])), *([flip()] if params["flip"] else []))


def run(
    recipe: Recipe,
    sampler: Sampler,
    params: Params,
    context: Context,
    *,
    epochs: int,
    channels_last: bool,
    save: Callable[[Path], None],
) -> History:
    """Train within the parameters' budget; ``epochs``, the original's, is used if no budget is set.

    ``save`` writes the current weights, for the checkpoints that the suite asks for.
    """
    limits = {name: params[name] for name in ("epochs", "steps", "minutes")}
    if all(value is None for value in limits.values()):
        limits["epochs"] = epochs
    every = None
    if limits["epochs"] is not None and limits["minutes"] is None:
        every = max(1, limits["epochs"] // LOOKS)
    elif limits["steps"] is not None:
        every = max(1, limits["steps"] * params["batch_size"] // len(sampler) // LOOKS)
    # Without a length in epochs: once, at the end.
    return train(
        recipe,
        sampler,
        context,
        Budget(**limits),
        batch_size=params["batch_size"],
        samples_every=every or 10**9,
        channels_last=channels_last,
        compile=params["compile"],
        save=save,
    )


def preview(validation: ImageSet | None, training: ImageSet) -> ImageSet:
    """A few slices to translate as samples during the fit, spread over the validation set."""
    images = validation if validation is not None and len(validation) else training
    count = min(PREVIEWS, len(images))
    return images.subset([i * len(images) // count for i in range(count)])


def _size(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"
