"""Do the models learn? Reads the results of the suite ``learning``, and runs its control.

    mtbench run learning
    python benchmarks/learning.py mtbench-results/learning
    python benchmarks/learning.py --control cyclegan unsb

Gap closed: (Dice - base) / (ceiling - base), where base is the better of identity and histogram. Wins: test patients
whose Dice is above the same patient's Dice with base. With other patients' masks: Dice of what was segmented against
the masks of each other test patient, the mean; that is, what comes of bone being where it usually is. A control trains
models on target slices of another anatomy (``mixed_anatomy.py``), takes these fits as those of the lumbar task, and
translates and scores as always: a gain that remains does not come from the target.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import mtbench
from mtbench.api import plan, run
from mtbench.compute.folders import store_folder
from mtbench.discovery import discover
from mtbench.report.evidence import Evidence, Side, array
from mtbench.store.artefacts import Store
from mtbench.suite import load_suite
from mtbench.upkeep.adopt import adopt

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


def patients(results: str) -> dict[tuple[str, int | None, str], dict[str, float]]:
    """Dice of every test patient, by role or translator, seed and label."""
    found: dict[tuple[str, int | None, str], dict[str, float]] = {}
    for row in mtbench.load(results, "cases").to_pylist():
        if row["metric"] == "dice" and row["by"] == "patient":
            found.setdefault((row["translator"] or row["role"], row["seed"], row["label"]), {})[row["case"]] = row[
                "value"
            ]
    return found


def other_patients(results: str, store: Path) -> dict[tuple[str, int | None, str], float]:
    """Dice by slice of each translator's predicted masks against those of all other patients."""
    evidence = Evidence(mtbench.load(results, "attempts").to_pylist(), Store(store))
    found = {}
    for row in mtbench.load(results).to_pylist():
        score = evidence.of_unit(row["unit_key"])
        if row["metric"] != "dice" or row["variant"] != "slice" or score is None:
            continue
        parts, where = evidence.inputs(score), score.manifest["unit"]["options"]["candidate"]
        if {"data", "split", "predicted_masks"} <= set(parts):
            side = Side(parts["data"], parts["split"], where["domain"], where["split"])
            real = np.array([side.mask(i) for i in range(len(side))]) > 0
            seen = array(parts["predicted_masks"], "masks.npy") > 0
            # All patients have equally many slices, one after the other; bone is on every one.
            count = sum(record.patient_id == side.slices[0].patient_id for record in side.slices)
            others = (np.roll(real, shift, axis=0) for shift in range(count, len(real), count))
            dice = [2 * (other & seen).sum((1, 2)) / (other.sum((1, 2)) + seen.sum((1, 2))) for other in others]
            found[row["translator"] or row["role"], row["seed"], row["label"]] = float(np.mean(dice))
    return found


def table(results: str, store: Path) -> Iterable[str]:
    """Lines of a Markdown table: Dice, gap closed, wins and Dice with other patients' masks, by model and seed."""
    scores = {
        (row["translator"] or row["role"], row["seed"], row["label"]): row["value"]
        for row in mtbench.load(results).to_pylist()
        if row["metric"] == "dice" and row["variant"] == "slice" and row["status"] == "measured"
    }
    cases, by_place = patients(results), other_patients(results, store)

    def line(name: str, key: tuple[str, int | None, str], closed: str, wins: str) -> str:
        place = f"{by_place[key]:.3f}" if key in by_place else ""
        return f"| {name} | {'' if key[1] is None else key[1]} | {scores[key]:.3f} | {closed} | {wins} | {place} |"

    yield "| model | seed | Dice[slice] | gap closed | patients above the baseline | with other patients' masks |"
    yield "|---|---|---|---|---|---|"
    for label in sorted({label for _, _, label in scores}):
        base = max(BASES, key=lambda name: scores[name, None, label])
        start, ceiling = scores[base, None, label], scores["ceiling", None, label]
        yield line(f"ceiling, {label}", ("ceiling", None, label), "100 %", "")
        yield line(base, (base, None, label), "0 %", "")
        for key in sorted(key for key in scores if key[0] not in (*BASES, "ceiling", "oracle", "floor")):
            if key[2] == label:
                mine, theirs = cases[key], cases[base, None, label]
                wins = sum(mine[patient] > theirs[patient] for patient in mine)
                yield line(key[0], key, f"{(scores[key] - start) / (ceiling - start):.0%}", f"{wins} of {len(mine)}")


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
        wanted = plan(SUITE, registry=registry, translators=[name], seeds=[0])
        adopt(wanted, registry, Store(Path(store)), "translator", fit, replace=True)
    run(SUITE, out=out, translators=models, seeds=[0], **there)
    return out, Path(store)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Parse, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", help="results directories of the suite `learning`")
    parser.add_argument("--store", help="where their artefacts are, if not in the usual store")
    parser.add_argument("--control", nargs="+", metavar="MODEL", help="run the controls of these models")
    parser.add_argument("--anatomy", nargs="+", choices=ANATOMIES, default=ANATOMIES, help="which controls; all")
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
