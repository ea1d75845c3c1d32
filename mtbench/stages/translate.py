"""translate: source slices to target slices, checked, clamped, rounded to the stored depth, stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mtbench.compute.inference import in_batches
from mtbench.compute.weights import sha256
from mtbench.data import Batch, encode
from mtbench.errors import PluginError
from mtbench.stages.work import Work

STAGE_REVISION = 1


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write ``images.npy``, N x H x W, in the order of the source slices.

    Raises:
        PluginError: the translator gave another shape, or NaN or infinite values.
    """
    import torch

    images = work.images(work.options["candidate"])
    context = work.context
    if "fit" in work.inputs:
        work.plugin.load(work.inputs["fit"].path)
    conditional = work.options["conditional"]
    depth = images.images.dtype.name
    clamped = 0

    def translate(chosen: range) -> dict[str, torch.Tensor]:
        rows = slice(chosen.start, chosen.stop)
        batch = Batch(
            source=images.tensor(rows, context.device),
            slices=images.slices[rows],
            masks=images.mask_tensor(rows, context.device) if conditional else None,
        )
        context.start_batch()
        result = work.plugin.translate(batch, context)
        if not isinstance(result, torch.Tensor):
            raise PluginError(
                f"translate() returned {type(result).__name__}", where=work.blame, expected="a torch tensor"
            )
        if tuple(result.shape) != tuple(batch.source.shape):
            raise PluginError(
                f"translate() returned shape {tuple(result.shape)}",
                where=work.blame,
                expected=f"{tuple(batch.source.shape)}, that of the source batch",
            )
        return {"images": result}

    with (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(images.images.dtype),
                "fortran_order": False,
                "shape": (len(images), *images.size),
            },
        )
        for chosen, result in in_batches(images, context, translate):
            values = result["images"].float().cpu().numpy()[:, 0]
            if not np.isfinite(values).all():
                bad = images.slices[chosen.start + int(np.argmax(~np.isfinite(values).all(axis=(1, 2))))]
                raise PluginError(
                    f"translate() returned NaN or infinite values for slice '{bad.slice_id}'",
                    where=work.blame,
                    expected="finite values in [0, 1]",
                )
            clamped += int(((values < -1e-6) | (values > 1 + 1e-6)).any(axis=(1, 2)).sum())
            file.write(np.ascontiguousarray(encode(values, depth)).tobytes())
    notes = list(context.log)
    if clamped:
        notes.append(f"{clamped} of {len(images)} images left [0, 1] and were clamped")
    return {"images": len(images), "notes": notes, "translator": _about(work)}


def _about(work: Work) -> dict[str, str]:
    """What stands on every row of this translator: terms of its weights, what was left out, and the files' sha256."""
    assert work.registered is not None
    spec = work.registered.spec
    remarks = [spec.notes(work.params)] if spec.notes else []
    if "fit" in work.inputs:
        remarks += work.inputs["fit"].info.get("remarks", ())
    remarks += work.context.remarks
    files = [
        Path(work.paths[name]) for name, param in spec.params.items() if param.kind == "path" and work.paths.get(name)
    ]
    return {
        "note": " ".join(dict.fromkeys(filter(None, remarks))),
        "weights_sha256": ",".join(sha256(file) for file in files if file.is_file()),
    }
