"""fit: a translator or a segmenter is trained and saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtbench.data import ImageSet, TrainingData
from mtbench.errors import PluginError
from mtbench.registry.basespec import Spec
from mtbench.registry.contracts import Trainable
from mtbench.stages.table import FitOptions, Subset
from mtbench.stages.work import Work


def run(work: Work[FitOptions, Spec[Trainable]], folder: Path) -> dict[str, Any]:
    """Write what the plugin's ``save`` writes."""
    sets = {f"{subset.domain}_{subset.split}": _visible(work, subset) for subset in work.options.reads().subsets}
    data = TrainingData(work.task, **sets)
    plugin = work.registration.create(work.unit.arguments)
    plugin.fit(data, work.context)
    plugin.save(folder)
    if not any(folder.iterdir()):
        raise PluginError("save() wrote nothing", where=work.blame, expected="files in the folder it is given")
    info: dict[str, Any] = {
        "images": sum(len(s) for name, s in sets.items() if name.endswith("train")),
        "notes": work.context.lines(),
        "remarks": list(work.context.remarks),
        "weights": sorted(set(work.context.weights_used)),
    }
    translations = [work.inputs[role] for role in sets if role in work.inputs]
    if translations:
        info["translator"] = translations[0].info.get("translator", {})
    validation = folder / "validation.json"
    if validation.exists():
        info["validation"] = json.loads(validation.read_text())
    return info


def _visible(work: Work[FitOptions, Spec[Trainable]], subset: Subset) -> ImageSet:
    # A segmenter may learn from translated slices.
    images = work.images(subset, f"{subset.domain}_{subset.split}")
    return images if work.options.masks else replace(images, masks=None)
