"""extract: features of an image set, computed once and shared by every metric and suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mtbench.compute.inference import in_batches
from mtbench.errors import PluginError
from mtbench.stages.work import Work

STAGE_REVISION = 1


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write one ``NAME.npy`` for each array of the extractor, float32, first axis in the order of the slices.

    Raises:
        PluginError: the extractor does not give what its spec promises.
    """
    assert work.registered is not None
    images = work.images(work.options["candidate"], "images")
    names = work.registered.spec.arrays
    context = work.context
    arrays: dict[str, Any] = {}
    for chosen, result in in_batches(
        images,
        context,
        lambda rows: work.plugin.extract(images.tensor(slice(rows.start, rows.stop), context.device), context),
    ):
        if set(result) != set(names):
            raise PluginError(
                f"extract() gave {', '.join(sorted(result)) or 'nothing'}",
                where=work.blame,
                expected=", ".join(names),
            )
        for name, values in result.items():
            block = values.float().cpu().numpy()
            if len(block) != len(chosen) or not np.isfinite(block).all():
                raise PluginError(
                    f"extract() gave '{name}' of shape {block.shape}"
                    + ("" if np.isfinite(block).all() else " with NaN"),
                    where=work.blame,
                    expected=f"{len(chosen)} finite rows",
                )
            if name not in arrays:
                arrays[name] = np.lib.format.open_memmap(
                    folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(len(images), *block.shape[1:])
                )
            arrays[name][chosen.start : chosen.stop] = block
    for array in arrays.values():
        array.flush()
    return {
        "images": len(images),
        "notes": list(context.log),
        "weights_sha256": getattr(work.plugin, "weights_sha256", ""),
    }
