"""Do the models learn? Reads the results of the suite ``learning``, and runs its control.

    mtbench run learning
    python benchmarks/learning.py mtbench-results/learning
    python benchmarks/learning.py --control cyclegan unsb [--store FOLDER]

Gap closed: (Dice - base) / (ceiling - base), where base is the better of identity and histogram. Wins: test patients
whose Dice is above the same patient's Dice with base. The control trains models on target slices of another anatomy
(breast), takes these fits as those of the lumbar task, and translates and scores as always: a gain that remains would
not come from the target.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mtbench
from mtbench.api import plan, run
from mtbench.discovery import discover
from mtbench.store.artefacts import Store
from mtbench.suite import load_suite
from mtbench.upkeep.adopt import adopt

SUITE = "learning"
BASES = ("identity", "histogram")
CONTROL = """
datasets = ["mixed-anatomy"]
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


def table(results: str) -> Iterable[str]:
    """Lines of a Markdown table: Dice, gap closed and wins by model and seed."""
    scores = {
        (row["translator"] or row["role"], row["seed"], row["label"]): row["value"]
        for row in mtbench.load(results).to_pylist()
        if row["metric"] == "dice" and row["variant"] == "slice" and row["status"] == "measured"
    }
    cases = patients(results)
    yield "| model | seed | Dice[slice] | gap closed | patients above the baseline |"
    yield "|---|---|---|---|---|"
    for label in sorted({label for _, _, label in scores}):
        ceiling = scores["ceiling", None, label]
        base = max(BASES, key=lambda name: scores[name, None, label])
        start = scores[base, None, label]
        yield f"| ceiling, {label} | | {ceiling:.3f} | 100 % | |"
        yield f"| {base} | | {start:.3f} | 0 % | |"
        for name, seed, of in sorted(key for key in scores if key[0] not in (*BASES, "ceiling", "oracle", "floor")):
            if of == label:
                value = scores[name, seed, label]
                mine, theirs = cases[name, seed, label], cases[base, None, label]
                wins = sum(mine[patient] > theirs[patient] for patient in mine)
                closed = (value - start) / (ceiling - start)
                yield f"| {name} | {seed} | {value:.3f} | {closed:.0%} | {wins} of {len(mine)} |"


def control(models: list[str], folder: Path) -> str:
    """Train on another anatomy, adopt, score on the lumbar task; the results directory."""
    registry = discover()
    entries = [e for e in load_suite(SUITE, registry, ()).translators if e.name in models]
    calls = [e.name + ":" + ",".join(f"{k}={_text(v)}" for k, v in e.params.items()) for e in entries]
    suite = folder / "control.toml"
    suite.write_text(CONTROL, encoding="utf-8")
    plugin = str(Path(__file__).with_name("mixed_anatomy.py"))
    store = str(folder / "store")
    there: dict[str, Any] = {"store": store, "device": "cpu"}
    run(str(suite), out=str(folder / "mixed"), translators=calls, plugin_files=[plugin], **there)
    run(SUITE, out=str(folder / "control"), translators=list(BASES), **there)
    for name in models:
        (fit,) = (
            path.parent
            for path in Path(store).glob("artefacts/fit/*/*/manifest.json")
            if f"fit mixed-anatomy {name}" in path.read_text(encoding="utf-8")
        )
        wanted = plan(SUITE, registry=registry, translators=[name], seeds=[0])
        adopt(wanted, registry, Store(Path(store)), "translator", fit, replace=True)
    run(SUITE, out=str(folder / "control"), translators=models, seeds=[0], **there)
    return str(folder / "control")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Parse, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", help="results directories of the suite `learning`")
    parser.add_argument("--control", nargs="+", metavar="MODEL", help="run the control of these models")
    parser.add_argument("--folder", type=Path, help="where the control keeps its store and results; resumes there")
    asked = parser.parse_args()
    results = list(asked.results)
    if asked.control:
        folder = asked.folder or Path(tempfile.mkdtemp(prefix="mtbench-control-"))
        folder.mkdir(parents=True, exist_ok=True)
        results.append(control(asked.control, folder))
    for found in results:
        print("\n".join(table(found)))


if __name__ == "__main__":
    main()
