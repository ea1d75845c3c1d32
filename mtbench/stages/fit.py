"""fit: a translator or a segmenter is trained and saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtbench.data import ImageSet, TrainingData
from mtbench.errors import PluginError
from mtbench.stages.work import Work

STAGE_REVISION = 2


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write what the plugin's ``save`` writes."""
    domains = work.options["domains"]
    sets = {
        f"{domain}_{side}": _seen(work, {"domain": domain, "split": side})
        for domain in domains
        for side in ("train", "validation")
    }
    data = TrainingData(work.task, **sets)
    work.plugin.fit(data, work.context)
    work.plugin.save(folder)
    if not any(folder.iterdir()):
        raise PluginError("save() wrote nothing", where=work.blame, expected="files in the folder it is given")
    info: dict[str, Any] = {
        "images": sum(len(s) for name, s in sets.items() if name.endswith("train")),
        "notes": list(work.context.log),
    }
    validation = folder / "validation.json"
    if validation.exists():
        info["validation"] = json.loads(validation.read_text())
    return info


def _seen(work: Work, where: Mapping[str, str]) -> ImageSet:
    images = work.images(where)
    return images if work.options["masks"] else replace(images, masks=None)
