"""score: compute one metric: values, intervals and per-case values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.data import ImageSet, MetricInputs
from mtbench.hashing import canonical
from mtbench.registry.registry import Registration
from mtbench.registry.specs import MetricSpec
from mtbench.stages.scoring import score
from mtbench.stages.table import ScoreOptions, Subset
from mtbench.stages.work import Work


def run(work: Work[ScoreOptions, Registration[MetricSpec]], folder: Path) -> dict[str, Any]:
    """Write ``score.json``: scores by label, cases, and the numbers of images and patients."""
    options = work.options
    inputs, sizes = gather(work)
    scoring = score(
        work.registration.create(work.unit.arguments),
        work.registration.spec,
        inputs,
        work.context,
        seed=options.sampling_seed,
        draws=options.draws,
        like=len(work.images(options.like)) if options.like else None,
        blame=work.registration.blame,
    )
    record = {**sizes, **scoring.record()}
    (folder / "score.json").write_text(json.dumps(record, sort_keys=True))
    return {"images": sizes["n_translated"]}


def gather(work: Work[ScoreOptions, Registration[MetricSpec]]) -> tuple[MetricInputs, dict[str, Any]]:
    """All inputs of the metric, and the information for its row: counts, and the models behind the score."""
    options = work.options
    candidate = work.images(options.candidate, "candidate_images")
    reference = work.images(options.reference) if options.reference else None
    training = work.images(options.training) if options.training else None
    features: dict[str, dict[str, Any]] = {}
    weights = set()
    for need in options.features:
        artefact = work.inputs[need.input]
        weights.add(artefact.info.get("weights_sha256", ""))
        for name in need.arrays:
            array = np.load(artefact.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            features.setdefault(need.of, {})[name] = array
    masks = None
    if "predicted_masks" in options.roles:
        masks = np.load(work.inputs["predicted_masks"].path / "masks.npy", mmap_mode="r", allow_pickle=False)
    paired = None
    if "paired" in options.roles:
        paired = work.images(Subset("paired", options.candidate.split))
        paired = paired.aligned(candidate)
    inputs = MetricInputs(
        task=work.unit.task,
        candidate=candidate,
        reference=reference,
        paired=paired,
        source=_source(work, candidate) if "source" in options.roles else None,
        training=training,
        predicted_masks=masks,
        reference_masks=_anatomy(work, candidate) if "reference_masks" in options.roles else None,
        features=features,
    )
    segmenter = work.inputs.get("segmenter")
    # Either the candidates are translations, or their segmenter was trained on translations.
    source = work.inputs.get("candidate_images", segmenter)
    translator = source.info.get("translator", {}) if source is not None else {}
    dice = segmenter.info.get("validation") if segmenter is not None else None
    sizes: dict[str, Any] = {
        "n_translated": len(candidate),
        "n_target": len(reference) if reference is not None else None,
        "n_patients_translated": len(set(candidate.patients)),
        "n_patients_target": len(set(reference.patients)) if reference is not None else None,
        "weights_sha256": ",".join(sorted(weights - {""})),
        "translator_note": translator.get("note", ""),
        "translator_weights_sha256": translator.get("weights_sha256", ""),
        "segmenter_validation": canonical(dice) if isinstance(dice, dict) and dice else "",
    }
    if source is not None and "step" in source.info:
        sizes["step"] = source.info["step"]
    return inputs, sizes


def _source(work: Work[ScoreOptions, Registration[MetricSpec]], candidate: ImageSet) -> ImageSet:
    """The source slices of the candidates; a ground truth counts as a translation of its source slice."""
    return work.images(Subset("source", candidate.split)).aligned(candidate)


def _anatomy(work: Work[ScoreOptions, Registration[MetricSpec]], candidate: ImageSet) -> NDArray[np.uint8] | None:
    """The masks of the candidates; for a ground truth those of its source slices."""
    if candidate.domain != "paired" or candidate.masks is not None:
        return candidate.masks
    return _source(work, candidate).masks
