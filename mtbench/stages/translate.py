"""translate: source slices to target slices, checked, clamped, rounded to the stored depth, stored."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mtbench.compute.weights import sha256
from mtbench.stages.translation import translate
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray

STAGE_REVISION = 1


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write ``images.npy``, N x H x W, in the order of the source slices.

    Raises:
        PluginError: the translator gave another shape or number, or NaN or infinite values.
    """
    images = work.images(work.options["candidate"])
    if "fit" in work.inputs:
        work.plugin.load(work.inputs["fit"].path)
    made = translate(
        work.plugin,
        images,
        work.context,
        conditional=work.options["conditional"],
        depth=images.images.dtype.name,
        blame=work.blame,
    )
    with closing(GrowingArray(folder / "images.npy", np.zeros(images.size, images.images.dtype))) as array:
        for chunk in made:
            for image in chunk:
                array.add(image)
    return {
        "images": len(images),
        "notes": work.context.lines(),
        "translator": _about(work),
        "weights": sorted(set(work.context.weights_used)),
    }


def _about(work: Work) -> dict[str, str]:
    """What stands on every row of this translator: terms of its weights, what was left out, and the files' sha256."""
    assert work.registered is not None
    spec = work.registered.spec
    remarks = [spec.note(work.params)]
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
