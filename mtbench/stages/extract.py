"""extract: features of an image set, computed once and shared by every metric and suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtbench.stages.extraction import extract
from mtbench.stages.work import Work

STAGE_REVISION = 1


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write one ``NAME.npy`` for each array of the extractor."""
    assert work.registered is not None
    images = work.images(work.options["candidate"], "images")
    extract(images, work.plugin, work.registered.spec.arrays, work.context, folder, work.blame)
    return {
        "images": len(images),
        "notes": work.context.lines(),
        "weights_sha256": getattr(work.plugin, "weights_sha256", ""),
    }
