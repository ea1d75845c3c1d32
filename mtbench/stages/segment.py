"""segment: predict the labels of an image set with a trained segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
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
from mtbench.registry.contracts import Confident, Segmenter
from mtbench.registry.registry import Registration
from mtbench.registry.specs import SegmenterSpec
from mtbench.stages.table import CONFIDENCE, ImageOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray


def run(work: Work[ImageOptions, Registration[SegmenterSpec]], folder: Path) -> dict[str, Any]:
    """Write ``masks.npy``, N x H x W uint8, and from a segmenter that is ``Confident`` :data:`CONFIDENCE`, likewise.

    Raises:
        PluginError: the segmenter returned a wrong shape or labels that the task does not have.
    """
    images = work.images(work.options.candidate, "images")
    segmenter = work.registration.create(work.unit.arguments)
    segmenter.load(work.inputs["fit"].path)
    blank = np.zeros(images.size, np.uint8)
    with ExitStack() as stack:
        masks = stack.enter_context(closing(GrowingArray(folder / "masks.npy", blank)))
        confidence: GrowingArray | None = None
        if isinstance(segmenter, Confident):
            (folder / CONFIDENCE).parent.mkdir(exist_ok=True)
            confidence = stack.enter_context(closing(GrowingArray(folder / CONFIDENCE, blank)))
        for arrays in _segment(segmenter, images, work.context, work.registration.blame, confidence is not None):
            for mask in arrays["labels"]:
                masks.add(mask)
            if confidence is not None:
                for values in arrays["confidence"]:
                    confidence.add(values)
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
    for arrays in _segment(segmenter, images, context, blame, confident=False):
        yield arrays["labels"]


def _segment(
    segmenter: Segmenter, images: ImageSet, context: Context, blame: str, confident: bool
) -> Iterator[Mapping[str, NDArray[np.uint8]]]:
    """``labels``, and if ``confident`` their ``confidence``: 255 stands for a probability of 1."""
    values = [0, *images.task.labels]

    def step(rows: range, source: torch.Tensor) -> dict[str, torch.Tensor]:
        expected = (len(rows), *images.size)
        with placed_by(blame, context.device):
            if not confident:
                prediction = _checked("segment()", segmenter.segment(source, context), expected, blame)
                return {"labels": prediction.to(torch.uint8), "unknown": _unknown(prediction, values)}
            assert isinstance(segmenter, Confident)
            both = segmenter.segment_with_confidence(source, context)
        prediction, sure = (_checked("segment_with_confidence()", each, expected, blame) for each in both)
        stored = (255 * sure.float().clamp(0, 1)).round().to(torch.uint8)
        return {"labels": prediction.to(torch.uint8), "unknown": _unknown(prediction, values), "confidence": stored}

    for _, results in in_batches(images, context, step):
        unknown = results["unknown"].item()
        if np.isfinite(unknown):
            raise PluginError(f"segment() returned the label {unknown:g}", where=blame, expected=f"one of {values}")
        yield results


def _checked(method: str, tensor: torch.Tensor, expected: tuple[int, ...], blame: str) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != expected:
        is_array = isinstance(tensor, (torch.Tensor, np.ndarray))
        shape = f" of shape {tuple(tensor.shape)}" if is_array else ""
        raise PluginError(
            f"{method} returned {type(tensor).__name__}{shape}",
            where=blame,
            expected=f"a torch tensor of shape {expected}",
        )
    return tensor


def _unknown(labels: torch.Tensor, known: Sequence[int]) -> torch.Tensor:
    """The smallest of ``labels`` that is not ``known``; infinite if there is none. Does not wait for the device."""
    wrong = torch.ones_like(labels, dtype=torch.bool)
    for value in known:
        wrong &= labels != value
    return torch.where(wrong, labels.to(torch.float32), torch.inf).amin()
