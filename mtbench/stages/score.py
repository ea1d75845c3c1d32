"""score: one metric on what it needs; values, intervals and per-case values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtbench.compute.seeds import generator
from mtbench.data import MetricInputs, Score
from mtbench.errors import DataError, PluginError
from mtbench.stages.work import Work

STAGE_REVISION = 1


def run(work: Work, folder: Path) -> dict[str, Any]:
    """Write ``score.json``: scores by label, cases, and how many images and patients entered.

    Raises:
        PluginError: the metric gave no score, or one that is not a finite number.
    """
    inputs, sizes = gather(work)
    draws = list(_draws(work, inputs, sizes.pop("like", None)))
    scores = [_scores(work, drawn) for drawn in draws]
    merged = _mean(scores, work)
    record = {
        "scores": [
            {
                "label": s.label,
                "value": s.value,
                "stderr": s.stderr,
                "ci_low": s.ci[0] if s.ci else None,
                "ci_high": s.ci[1] if s.ci else None,
                "mark": s.mark,
                "note": s.note,
            }
            for s in merged
        ],
        "cases": [
            {
                "label": s.label,
                "by": s.cases.by,
                "case": list(s.cases.ids),
                "patient": list(s.cases.patients),
                "value": [None if math.isnan(v) else float(v) for v in s.cases.values],
            }
            for s in merged
            if s.cases is not None
        ],
        "n": len(draws[0].candidate) if draws[0].candidate is not None else None,
        **sizes,
    }
    (folder / "score.json").write_text(json.dumps(record, sort_keys=True))
    return {"notes": list(work.context.log), "images": sizes["n_translated"]}


def gather(work: Work) -> tuple[MetricInputs, dict[str, Any]]:
    """What the metric needs, all of it, and the counts that stand on its row."""
    options = work.options
    candidate = work.images(options["candidate"], "candidate_images")
    needs = options["needs"]
    reference = work.images(options["reference"]) if "reference" in options else None
    features: dict[str, dict[str, Any]] = {}
    weights = set()
    for need in needs:
        if not isinstance(need, str):
            artefact = work.inputs[need["input"]]
            weights.add(artefact.info.get("weights_sha256", ""))
            features.setdefault(need["of"], {}).update(
                {
                    name: np.load(artefact.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                    for name in need["arrays"]
                }
            )
    predicted = None
    if "predicted_masks" in needs:
        predicted = np.load(work.inputs["predicted_masks"].path / "masks.npy", mmap_mode="r", allow_pickle=False)
    paired = None
    if "paired" in needs:
        paired = work.images({"domain": "paired", "split": options["candidate"]["split"]})
        paired = paired.subset(_aligned([s.slice_id for s in candidate.slices], [s.slice_id for s in paired.slices]))
    inputs = MetricInputs(
        task=work.task,
        candidate=candidate,
        reference=reference,
        paired=paired,
        predicted_masks=predicted,
        reference_masks=candidate.masks if "reference_masks" in needs else None,
        features=features,
    )
    sizes: dict[str, Any] = {
        "n_translated": len(candidate),
        "n_target": len(reference) if reference is not None else None,
        "n_patients_translated": len(set(candidate.patients)),
        "n_patients_target": len(set(reference.patients)) if reference is not None else None,
        "weights_sha256": ",".join(sorted(weights - {""})),
    }
    if "like" in options:
        sizes["like"] = len(work.images(options["like"]))
    return inputs, sizes


def _aligned(wanted: Sequence[str], present: Sequence[str]) -> list[int]:
    where = {name: position for position, name in enumerate(present)}
    missing = [name for name in wanted if name not in where]
    if missing:
        raise DataError(f"slice '{missing[0]}' has no paired truth", expected="one for every source test slice")
    return [where[name] for name in wanted]


def _draws(work: Work, inputs: MetricInputs, like: int | None) -> Any:
    """Equal numbers on both sides where the metric asks for it: N = min, drawn by seed (the paper's rule)."""
    if not work.options.get("balanced") or inputs.candidate is None or inputs.reference is None:
        yield inputs
        return
    have = {"candidate": len(inputs.candidate), "reference": len(inputs.reference)}
    count = min(*have.values(), *([like] if like else []))
    if set(have.values()) == {count}:
        yield inputs
        return
    for draw in range(work.options["draws"]):
        chosen = {}
        for side, total in have.items():
            rng = generator("draw", work.options["sampling_seed"], side, total, draw)
            chosen[side] = None if total == count else np.sort(rng.choice(total, count, replace=False))
        yield inputs.select(chosen["candidate"], chosen["reference"])


def _scores(work: Work, inputs: MetricInputs) -> list[Score]:
    found = work.plugin.compute(inputs, work.context)
    scores = [found] if isinstance(found, Score) else list(found)
    if not scores or not all(isinstance(s, Score) for s in scores):
        raise PluginError(f"compute() returned {found!r:.80}", where=work.blame, expected="mtbench.Score objects")
    for score in scores:
        if not math.isfinite(score.value):
            about = f" for '{score.label}'" if score.label else ""
            raise PluginError(
                f"the value{about} is {score.value}",
                where=work.blame,
                expected="a finite number",
                remedy="A metric that cannot be computed must raise and say why",
            )
    return scores


def _mean(draws: list[list[Score]], work: Work) -> list[Score]:
    """The mean over draws; with one draw, that draw."""
    if len(draws) == 1:
        return draws[0]
    merged = []
    for alike in zip(*draws, strict=True):
        values = np.array([s.value for s in alike])
        first = alike[0]
        note = f"mean of {len(values)} draws of N = min, spread {values.std(ddof=1):.3g}"
        merged.append(
            Score(
                float(values.mean()),
                first.label,
                None,
                first.stderr,
                None,
                first.mark,
                "; ".join(filter(None, (first.note, note))),
            )
        )
    return merged


Compute = Callable[[MetricInputs], Sequence[Score]]
