"""segment: predict the labels of an image set with a trained segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches
from mtbench.compute.placement import placed_by
from mtbench.data import ImageSet
from mtbench.errors import PluginError
from mtbench.registry.contracts import Segmenter
from mtbench.registry.registry import Registration
from mtbench.registry.specs import SegmenterSpec
from mtbench.stages.table import ImageOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray


def run(work: Work[ImageOptions, Registration[SegmenterSpec]], folder: Path) -> dict[str, Any]:
    """Write ``masks.npy``, N x H x W uint8.

    Raises:
        PluginError: the segmenter returned a wrong shape or labels that the task does not have.
    """
    images = work.images(work.options.candidate, "images")
    segmenter = work.registration.create(work.unit.arguments)
    segmenter.load(work.inputs["fit"].path)
    with closing(GrowingArray(folder / "masks.npy", np.zeros(images.size, np.uint8))) as masks:
        for labels in segment(segmenter, images, work.context, work.registration.blame):
            for mask in labels:
                masks.add(mask)
    return {"images": len(images)}


def segment(segmenter: Segmenter, images: ImageSet, context: Context, blame: str) -> Iterator[NDArray[np.uint8]]:
    """The labels of all slices in order, B x H x W uint8, batch by batch.

    Args:
        segmenter: loaded.
        images: the slices.
        context: of the unit; its device.
        blame: the plugin, for messages.

    Raises:
        PluginError: the segmenter returned a wrong shape or labels that the task does not have.
    """
    values = [0, *images.task.labels]

    def step(rows: range, source: torch.Tensor) -> dict[str, torch.Tensor]:
        with placed_by(blame, context.device):
            prediction = segmenter.segment(source, context)
        expected = (len(rows), *images.size)
        if not isinstance(prediction, torch.Tensor) or tuple(prediction.shape) != expected:
            is_array = isinstance(prediction, (torch.Tensor, np.ndarray))
            shape = f" of shape {tuple(prediction.shape)}" if is_array else ""
            raise PluginError(
                f"segment() returned {type(prediction).__name__}{shape}",
                where=blame,
                expected=f"a torch tensor of shape {expected}",
            )
        return {"labels": prediction.to(torch.uint8), "unknown": _unknown(prediction, values)}

    for _, results in in_batches(images, context, step):
        unknown = results["unknown"].item()
        if np.isfinite(unknown):
            raise PluginError(f"segment() returned the label {unknown:g}", where=blame, expected=f"one of {values}")
        yield results["labels"]


def _unknown(labels: torch.Tensor, known: Sequence[int]) -> torch.Tensor:
    """The smallest of ``labels`` that is not ``known``; infinite if there is none. Does not wait for the device."""
    wrong = torch.ones_like(labels, dtype=torch.bool)
    for value in known:
        wrong &= labels != value
    return torch.where(wrong, labels.to(torch.float32), torch.inf).amin()
