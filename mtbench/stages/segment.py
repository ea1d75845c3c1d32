"""segment: the labels a trained segmenter sees in an image set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mtbench.compute.inference import in_batches
from mtbench.errors import PluginError
from mtbench.stages.work import Work

STAGE_REVISION = 1


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write ``masks.npy``, N x H x W uint8.

    Raises:
        PluginError: the segmenter gave another shape or labels the task does not have.
    """
    images = work.images(work.options["candidate"], "images")
    work.plugin.load(work.inputs["fit"].path)
    context = work.context
    known = np.array([0, *work.task.labels], dtype=np.int64)
    masks = np.lib.format.open_memmap(
        folder / "masks.npy", mode="w+", dtype=np.uint8, shape=(len(images), *images.size)
    )
    for chosen, result in in_batches(
        images,
        context,
        lambda rows: {
            "masks": work.plugin.segment(images.tensor(slice(rows.start, rows.stop), context.device), context)
        },
    ):
        labels = result["masks"].cpu().numpy()
        if labels.shape != (len(chosen), *images.size):
            raise PluginError(
                f"segment() returned shape {labels.shape}",
                where=work.blame,
                expected=f"{(len(chosen), *images.size)}",
            )
        unknown = np.setdiff1d(labels, known)
        if unknown.size:
            raise PluginError(
                f"segment() returned the label {unknown[0]}",
                where=work.blame,
                expected=f"one of {known.tolist()}",
            )
        masks[chosen.start : chosen.stop] = labels
    masks.flush()
    return {"images": len(images), "notes": list(context.log)}
