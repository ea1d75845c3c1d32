"""fit: a translator or a segmenter is trained and saved."""

from __future__ import annotations

import json
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
    sets = {f"{domain}_{side}": _seen(work, domain, side) for domain in domains for side in ("train", "validation")}
    data = TrainingData(work.task, **sets)
    work.plugin.fit(data, work.context)
    work.plugin.save(folder)
    if not any(folder.iterdir()):
        raise PluginError("save() wrote nothing", where=work.blame, expected="files in the folder it is given")
    info: dict[str, Any] = {
        "images": sum(len(s) for name, s in sets.items() if name.endswith("train")),
        "notes": work.context.lines(),
        "remarks": list(work.context.remarks),
        "weights": sorted(set(work.context.weights_used)),
    }
    made = [work.inputs[role] for role in sets if role in work.inputs]
    if made:
        info["translator"] = made[0].info.get("translator", {})
    validation = folder / "validation.json"
    if validation.exists():
        info["validation"] = json.loads(validation.read_text())
    return info


def _seen(work: Work, domain: str, side: str) -> ImageSet:
    # A segmenter may learn from translated slices.
    images = work.images({"domain": domain, "split": side}, f"{domain}_{side}")
    return images if work.options["masks"] else replace(images, masks=None)
