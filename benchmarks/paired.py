"""Do paired and unpaired translators learn, and what do misaligned pairs cost? Trains, tunes, and prints the tables.

    OMP_NUM_THREADS=1 python benchmarks/paired.py FOLDER [--what tune learn shift] [--seeds 0 1 2] [--pixels 1 2 3]

The suite is ``paired.toml``. Every network has the same number of trials: one fit of seed 0 per learning rate, the best
by MAE against the truth of validation patients. Test patients are scored with that rate only. FOLDER keeps the store
and the results, and the same command resumes. CPU seconds are those of the process during the fit, in which one unit
runs at a time; this file is also a plugin, which notes them.

[ ]: 95 % confidence interval by patient; of a difference between two fits, Student's over the patients' differences.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student_t

import mtbench
from mtbench.registry.discovery import discover

SUITE = Path(__file__).with_suffix(".toml")
RATES = (2e-4, 1e-3)
NETWORKS = ("regression-unet", "pix2pix", "cut", "cyclegan")
PAIRED = ("pointwise-map", "regression-unet", "pix2pix")
BASELINES = ("identity", "monotone-map", "pointwise-map")
DIGITS = {"mae": 1, "ssim": 3, "dice": 3}
"""Metrics, and their digits in tables."""
NOTES = "MTBENCH_BENCHMARK_NOTES"
"""Environment variable: the file that the plugin writes."""

Row = dict[str, Any]
_before = time.process_time()


@mtbench.hookimpl
def mtbench_unit_finished(unit: Any, outcome: Any) -> None:
    """Note the CPU seconds of each fit, in the executor ``inline``."""
    global _before
    seconds, _before = time.process_time() - _before, time.process_time()
    if unit.stage == "fit" and outcome.status == "ok":
        with open(os.environ[NOTES], "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([outcome.digest, round(seconds, 1)])


class Runs:
    """Runs of the suite in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "seconds.csv"
        os.environ[NOTES] = str(self.notes)
        suite = tomllib.loads(SUITE.read_text(encoding="utf-8"))
        self.params = {entry["name"]: entry.get("params", {}) for entry in suite["translators"]}

    def run(
        self, name: str, datasets: Iterable[str], translators: Iterable[str], seeds: list[int], **more: Any
    ) -> None:
        """Add to the results directory ``name``."""
        mtbench.run(
            str(SUITE),
            out=str(self.folder / name),
            store=str(self.folder / "store"),
            datasets=list(datasets),
            translators=list(translators),
            seeds=seeds,
            executor="inline",
            device="cpu",
            plugin_files=[__file__],
            **more,
        )

    def rows(self, name: str, scored_on: str = "") -> list[Row]:
        """The measured rows of final checkpoints."""
        rows = mtbench.load(str(self.folder / name)).to_pylist()
        final = [r for r in rows if r["status"] == "measured" and not r["checkpoint"]]
        return [r for r in final if (r["scored_on"] or "") == scored_on]

    def seconds(self, row: Row) -> float | None:
        """CPU seconds of a row's fit of a translator."""
        with self.notes.open(newline="", encoding="utf-8") as file:
            known = {digest: float(seconds) for digest, seconds in csv.reader(file)}
        return next((known[digest] for digest in row["fit_digest"].split(",") if digest in known), None)

    def images(self, translator: str) -> int:
        """Training pairs (paired) or images of each domain (unpaired) that a fit sees, repetitions included."""
        params = self.params[translator]
        return int(params["steps"] * params.get("batch_size", 1))


def rate_of(row: Row) -> float:
    """The learning rate of a row of a network; rows list parameters that differ from the defaults."""
    spec = discover(third_party=False).get("translator", row["translator"]).spec
    return float(json.loads(row["translator_params"]).get("lr", spec.params["lr"].default))


def tune(runs: Runs) -> dict[str, float]:
    """Train each network once per rate; print MAE on validation patients and return the best rates."""
    runs.run("tuning", ["aligned"], [f"{n}:lr={rate}" for n in NETWORKS for rate in RATES], [0], metrics=["mae"])
    rows = [r for r in runs.rows("tuning", "validation") if r["metric"] == "mae"]
    scores = {(r["translator"], rate_of(r)): r["value"] for r in rows if r["translator"] in NETWORKS}
    print("\n| | " + " | ".join(f"lr {rate:g}" for rate in RATES) + " |\n" + "|---" * (len(RATES) + 1) + "|")
    for name in NETWORKS:
        print(f"| {name} | " + " | ".join(f"{scores[name, rate]:.1f}" for rate in RATES) + " |")
    return {name: min(RATES, key=lambda rate: scores[name, rate]) for name in NETWORKS}


def cell(row: Row | None, digits: int) -> str:
    """A value and its 95 % confidence interval, which needs ten patients."""
    if row is None:
        return ""
    ends = [row["ci_low"], row["ci_high"]]
    interval = "" if None in ends else " [" + ", ".join(f"{end:.{digits}f}" for end in ends) + "]"
    return f"{row['value']:.{digits}f}{interval}"


def table(runs: Runs, results: str) -> None:
    """Print a row for each translator and seed: budget, and the scores of test patients."""
    scores: dict[tuple[str, int | None], dict[str, Row]] = {}
    for row in runs.rows(results):
        scores.setdefault((row["translator"] or row["role"], row["seed"]), {})[row["metric"]] = row
    columns = ("translator", "seed", "lr", "images seen", "CPU s", "MAE (HU)", "SSIM", "Dice bone")
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    order = ["truth", "ceiling", *runs.params]
    for name, seed in sorted((key for key in scores if key[0] in order), key=lambda k: (order.index(k[0]), k[1] or 0)):
        mine = scores[name, seed]
        budget = ["", "", ""]
        if name in NETWORKS:
            seconds = runs.seconds(mine["mae"])
            budget = [f"{rate_of(mine['mae']):g}", str(runs.images(name)), "" if seconds is None else f"{seconds:.0f}"]
        cells = [cell(mine.get(metric), digits) for metric, digits in DIGITS.items()]
        print("| " + " | ".join([name, "" if seed is None else str(seed), *budget, *cells]) + " |")


def shift_table(runs: Runs, results: str, shifted: list[str]) -> None:
    """Print each score with aligned pairs, and how much it differs with shifted ones on the same test patients."""
    rows = runs.rows(results)
    patients: dict[str, dict[str, list[float]]] = {}
    for case in mtbench.load(str(runs.folder / results), "cases").to_pylist():
        patients.setdefault(case["row_id"], {}).setdefault(case["patient"], []).append(case["value"])
    means = {row_id: {p: mean(values) for p, values in of.items()} for row_id, of in patients.items()}
    of = {(r["translator"], r["seed"], r["metric"], r["dataset"]): means[r["row_id"]] for r in rows if r["translator"]}
    columns = ("metric", "translator", "seed", "aligned", *(f"{name}, difference" for name in shifted))
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for metric, digits in DIGITS.items():
        for name in PAIRED:
            for seed in sorted({r["seed"] for r in rows if r["translator"] == name}, key=lambda n: n or 0):
                aligned = of[name, seed, metric, "aligned"]
                cells = [metric, name, "" if seed is None else str(seed), f"{mean(aligned.values()):.{digits}f}"]
                for dataset in shifted:
                    other = of[name, seed, metric, dataset]
                    gaps = [other[patient] - aligned[patient] for patient in aligned]
                    half = student_t.ppf(0.975, len(gaps) - 1) * stdev(gaps) / len(gaps) ** 0.5
                    low, high = mean(gaps) - half, mean(gaps) + half
                    cells.append(f"{mean(gaps):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
                print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", nargs="+", choices=("tune", "learn", "shift"), default=["tune", "learn", "shift"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pixels", nargs="+", type=int, choices=(1, 2, 3), default=[1, 2, 3], help="of the shift")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    runs = Runs(asked.folder.resolve())
    rates = tune(runs)
    tuned = {name: f"{name}:lr={rates[name]}" if name in rates else name for name in runs.params}
    if "learn" in asked.what:
        runs.run("learning", ["aligned"], [tuned[name] for name in (*BASELINES, *NETWORKS)], asked.seeds)
        table(runs, "learning")
    if "shift" in asked.what:
        shifted = [f"shifted-{pixels}" for pixels in asked.pixels]
        runs.run(
            "shift", ["aligned", *shifted], [tuned[name] for name in PAIRED], asked.seeds, settings=["references=false"]
        )
        shift_table(runs, "shift", shifted)


if __name__ == "__main__":
    main()
