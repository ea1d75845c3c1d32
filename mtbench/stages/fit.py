"""fit: train and save a translator, a segmenter or an extractor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtbench.compute.kept import FOLDER, KeptCheckpoints
from mtbench.compute.placement import placed_by
from mtbench.data import ImageSet, TrainingData
from mtbench.errors import PluginError
from mtbench.registry.basespec import Spec
from mtbench.registry.contracts import Trainable
from mtbench.registry.registry import Registration
from mtbench.stages.pairs import of_patients, some_patients, unpaired
from mtbench.stages.table import FitOptions, reads
from mtbench.stages.work import Work


def run(work: Work[FitOptions, Registration[Spec[Trainable]]], folder: Path) -> dict[str, Any]:
    """Write the files of the plugin's ``save``."""
    sets: dict[str, ImageSet] = {}
    for subset in reads(work.options).subsets:
        role = f"{subset.domain}_{subset.split}"
        images = work.images(subset, role)  # a segmenter may be trained on translated slices
        sets[role] = images if work.options.masks else replace(images, masks=None)
    if "source_train" in sets:
        # The order of the target slices, and their records, would give away the pairs of a paired task.
        sets = {role: unpaired(images, work.context.seed) for role, images in sets.items()}
    if work.options.paired_fraction < 1 or work.options.target_patients:
        sets = _with_fewer_patients(work, sets)
    data = TrainingData(work.unit.task, **sets)
    plugin = work.registration.create(work.unit.arguments)
    if work.options.keep > 1 and work.context.checkpoints is not None:
        work.context.kept = KeptCheckpoints(work.context.checkpoints.folder / FOLDER, work.options.keep)
    with placed_by(work.registration.blame, work.context.device):
        plugin.fit(data, work.context)
    plugin.save(folder)
    if not any(folder.iterdir()):
        raise PluginError(
            "save() wrote nothing", where=work.registration.blame, expected="files in the folder that it receives"
        )
    info: dict[str, Any] = {
        "images": sum(len(s) for name, s in sets.items() if name.endswith("train")),
        "remarks": list(work.context.remarks),
        "weights": sorted(set(work.context.weights_used)),
    }
    if work.context.kept is not None:
        info["steps"] = work.context.kept.copy_to(folder)
    translations = [work.inputs[role] for role in sets if role in work.inputs]
    if translations:
        info["translator"] = translations[0].info.get("translator", {})
    validation = folder / "validation.json"
    if validation.exists():
        info["validation"] = json.loads(validation.read_text())
    return info


def _with_fewer_patients(
    work: Work[FitOptions, Registration[Spec[Trainable]]], sets: dict[str, ImageSet]
) -> dict[str, ImageSet]:
    """The sets without the target training slices, or pairs, of the patients left out; validation slices stay.

    A remark on the row says how many patients remain.
    """
    options, paired = work.options, "paired_train" in sets
    whole = sets["source_train" if paired else "target_train"]
    patients = set(whole.patients)
    kept = some_patients(patients, work.context.seed, fraction=options.paired_fraction, count=options.target_patients)
    asked = [f"paired_fraction = {options.paired_fraction:g}"] if options.paired_fraction < 1 else []
    asked += [f"target_patients = {options.target_patients}"] if options.target_patients else []
    which = "the pairs of {} of {} training patients" if paired else "{} of {} target training patients"
    work.context.remark(f"With {' and '.join(asked)}, trained on {which.format(len(kept), len(patients))}.")
    roles = ("source_train", "paired_train") if paired else ("target_train",)
    return {**sets, **{role: of_patients(sets[role], kept, whole) for role in roles}}
