"""segment: the labels a trained segmenter sees in an image set."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtbench.compute.inference import in_batches
from mtbench.errors import PluginError
from mtbench.registry.registry import Registration
from mtbench.registry.specs import SegmenterSpec
from mtbench.stages.table import ImageOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray


def run(work: Work[ImageOptions, Registration[SegmenterSpec]], folder: Path) -> dict[str, Any]:
    """Write ``masks.npy``, N x H x W uint8.

    Raises:
        PluginError: the segmenter gave another shape or labels the task does not have.
    """
    images = work.images(work.options.candidate, "images")
    segmenter = work.registration.create(work.unit.arguments)
    segmenter.load(work.inputs["fit"].path)
    values = np.array([0, *work.unit.task.labels], dtype=np.int64)
    blame = work.registration.blame
    with closing(GrowingArray(folder / "masks.npy", np.zeros(images.size, np.uint8))) as masks:
        for rows, prediction in in_batches(images, work.context, images.tensor, segmenter.segment):
            expected = (len(rows), *images.size)
            if not isinstance(prediction, torch.Tensor) or tuple(prediction.shape) != expected:
                is_array = isinstance(prediction, (torch.Tensor, np.ndarray))
                shape = f" of shape {tuple(prediction.shape)}" if is_array else ""
                raise PluginError(
                    f"segment() returned {type(prediction).__name__}{shape}",
                    where=blame,
                    expected=f"a torch tensor of shape {expected}",
                )
            labels = prediction.cpu().numpy()
            unknown = np.setdiff1d(labels, values)
            if unknown.size:
                raise PluginError(
                    f"segment() returned the label {unknown[0]}",
                    where=blame,
                    expected=f"one of {values.tolist()}",
                )
            for mask in labels:
                masks.add(mask)
    return {"images": len(images)}
