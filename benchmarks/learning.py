"""Do the models learn? Reads the results of the suite ``learning``, or of others with Dice, and runs its controls.

    mtbench run learning
    python benchmarks/learning.py mtbench-results/learning
    python benchmarks/learning.py --control cyclegan unsb

Gap closed: (Dice - base) / (ceiling - base), where base is the better of identity and histogram. Gain: a patient's
Dice (mean of slices) less the same patient's with base; the mean over patients with Student's 95 % interval. With
other patients' masks: Dice of what was segmented against the masks of each other test patient, the mean; that is, what
comes of bone being where it usually is. A control trains models on target slices of another anatomy
(``mixed_anatomy.py``), takes these fits as those of the lumbar task, and translates and scores as always: a gain that
remains does not come from the target.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import t as student_t

import mtbench
from mtbench import run
from mtbench.engine.adopt import adopt
from mtbench.plan.request import PlanRequest
from mtbench.plan.suite import load_suite
from mtbench.registry.discovery import discover
from mtbench.report.evidence import Evidence, Slices, array
from mtbench.stages.table import ImageOptions
from mtbench.stages.unit import unit_of
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder
from mtbench_plugins.metrics.overlap import Dice

SUITE = "learning"
BASES = ("identity", "histogram")
ANATOMIES = ("breast", "flank")
CONTROL = """
datasets = ["mixed-{anatomy}"]
translators = ["identity"]
metrics = ["swd"]

[suite]
name = "control"
seeds = [0]
threads = 1
references = false
"""

Key = tuple[str, int | None, str]
"""Role or translator, seed and label."""


def key_of(row: dict[str, Any]) -> Key:
    """Of a row of scores or cases."""
    return row["translator"] or row["role"], row["seed"], row["label"]


def slice_scores(results: str) -> list[dict[str, Any]]:
    """The rows of Dice by slice."""
    found: list[dict[str, Any]] = mtbench.load(results).to_pylist()
    wanted = {"metric": "dice", "variant": "slice", "status": "measured"}
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def patients(results: str) -> dict[Key, dict[str, float]]:
    """Dice by slice of every test patient, the mean over its slices."""
    found: dict[Key, dict[str, list[float]]] = {}
    for row in mtbench.load(results, "cases").to_pylist():
        if row["metric"] == "dice" and row["by"] == "slice":
            found.setdefault(key_of(row), {}).setdefault(row["patient"], []).append(row["value"])
    return {key: {patient: mean(values) for patient, values in of.items()} for key, of in found.items()}


def other_patients(results: str, store: Path) -> dict[Key, float]:
    """Dice by slice of the segmentations against the masks of all other test patients, the mean over folds."""
    evidence = Evidence(mtbench.load(results, "attempts").to_pylist(), Store(store))
    found: dict[Key, list[float]] = {}
    for row in slice_scores(results):
        score = evidence.of_unit(row["unit_key"])
        if score is None or not {"data", "split", "predicted_masks"} <= set(parts := evidence.inputs(score)):
            continue
        options = unit_of(score).options
        assert isinstance(options, ImageOptions)
        reals = Slices(parts["data"], parts["split"], options.candidate)
        people = np.array([record.patient_id for record in reals.slices])
        real = np.array([reals.mask(i) for i in range(len(reals))]) > 0
        predicted = array(parts["predicted_masks"], "masks.npy") > 0
        values = []
        for mine, theirs in permutations([np.flatnonzero(people == name) for name in dict.fromkeys(people)], 2):
            # The slices at the same relative position in the two patients.
            a, b = predicted[mine], real[theirs[np.linspace(0, len(theirs) - 1, len(mine)).round().astype(int)]]
            counts = zip(*(masks.sum((1, 2)) for masks in (a & b, a, b)), strict=True)
            values += [Dice().of_counts(*slice_counts) for slice_counts in counts]
        found.setdefault(key_of(row), []).append(float(np.mean(values)))
    return {key: mean(values) for key, values in found.items()}


def table(results: str, store: Path) -> Iterable[str]:
    """Lines of a Markdown table: Dice, gap closed, wins and Dice with other patients' masks, by model and seed."""
    folds: dict[Key, list[float]] = {}
    for row in slice_scores(results):
        folds.setdefault(key_of(row), []).append(row["value"])
    scores = {key: mean(values) for key, values in folds.items()}
    cases, by_place = patients(results), other_patients(results, store)

    def line(name: str, key: Key, *cells: str) -> str:
        place = f"{by_place[key]:.3f}" if key in by_place else ""
        return (
            " | ".join(["| " + name, "" if key[1] is None else str(key[1]), f"{scores[key]:.3f}", *cells, place]) + " |"
        )

    columns = ("model", "seed", "Dice[slice]", "gap closed", "gain by patient", "patients who gain")
    yield f"| {' | '.join(columns)} | with other patients' masks |"
    yield "|---|---|---|---|---|---|---|"
    for label in sorted({label for _, _, label in scores}):
        base = max(BASES, key=lambda name: scores[name, None, label])
        start, ceiling = scores[base, None, label], scores["ceiling", None, label]
        yield line(f"ceiling, {label}", ("ceiling", None, label), "100 %", "", "")
        yield line(base, (base, None, label), "0 %", "", "")
        for key in sorted(key for key in scores if key[0] not in (*BASES, "ceiling", "oracle", "floor")):
            if key[2] == label:
                gains = [value - cases[base, None, label][patient] for patient, value in cases[key].items()]
                half = student_t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
                yield line(
                    key[0],
                    key,
                    f"{(scores[key] - start) / (ceiling - start):.0%}",
                    f"{mean(gains):.3f} [{mean(gains) - half:.3f}, {mean(gains) + half:.3f}]",
                    f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
                )


def control(models: list[str], anatomy: str, folder: Path) -> tuple[str, Path]:
    """Train on another anatomy, adopt, score on the lumbar task; the results directory."""
    registry = discover()
    entries = [e for e in load_suite(SUITE, registry, ()).translators if e.name in models]
    calls = [e.name + ":" + ",".join(f"{k}={_text(v)}" for k, v in e.params.items()) for e in entries]
    suite = folder / f"{anatomy}.toml"
    suite.write_text(CONTROL.format(anatomy=anatomy), encoding="utf-8")
    plugin = str(Path(__file__).with_name("mixed_anatomy.py"))
    store, out = str(folder / "store"), str(folder / anatomy)
    there: dict[str, Any] = {"store": store, "device": "cpu"}
    run(SUITE, out=out, translators=list(BASES), **there)
    run(str(suite), out=str(folder / f"fits-{anatomy}"), translators=calls, plugin_files=[plugin], **there)
    for name in models:
        (fit,) = (
            path.parent
            for path in Path(store).glob("artefacts/fit/*/*/manifest.json")
            if f"fit mixed-{anatomy} {name}" in path.read_text(encoding="utf-8")
        )
        wanted = PlanRequest(SUITE, translators=(name,), seeds=(0,)).plan(registry)
        adopt(wanted, registry, Store(Path(store)), "translator", fit, replace=True)
    run(SUITE, out=out, translators=models, seeds=[0], **there)
    return out, Path(store)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Parse, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", help="results directories of the suite `learning`")
    parser.add_argument("--store", help="store of their artefacts (default: the usual store)")
    parser.add_argument("--control", nargs="+", metavar="MODEL", help="run the controls of these models")
    parser.add_argument(
        "--anatomy", nargs="+", choices=ANATOMIES, default=ANATOMIES, help="which controls (default: all)"
    )
    parser.add_argument("--folder", type=Path, help="where controls keep their store and results; resumes there")
    asked = parser.parse_args()
    found = [(results, store_folder(asked.store)) for results in asked.results]
    if asked.control:
        folder = asked.folder or Path(tempfile.mkdtemp(prefix="mtbench-control-"))
        folder.mkdir(parents=True, exist_ok=True)
        found += [control(asked.control, anatomy, folder) for anatomy in asked.anatomy]
    for results, store in found:
        print(f"\n{results}\n")
        print("\n".join(table(results, store)))


if __name__ == "__main__":
    main()
