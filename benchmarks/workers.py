"""What a process of its own costs a unit: the executor ``local`` against ``inline``, on units that do almost nothing.

    python benchmarks/workers.py [--units 20 80] [--repeats 3]

Runs suites of two sizes with each executor; the difference in time over the difference in units is what one more
unit costs, without what a run costs once (Python, torch, the fork server). Wall time and processor time of all
processes together; the median of the repeats.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGIN = """
import numpy as np
import mtbench


@mtbench.hookimpl
def mtbench_datasets():
    yield mtbench.DatasetSpec("grey", ":Grey")


@mtbench.hookimpl
def mtbench_metrics():
    yield mtbench.MetricSpec("mean", ":Mean", params={"number": 0}, needs=("candidate",))


class Grey:
    def prepare(self, root, context):
        for domain in ("source", "target"):
            for patient in range(8):
                name = f"{domain}{patient}"
                yield mtbench.Sample(domain, np.full((16, 16), patient / 8), mtbench.Slice(name, name, name, 0))


class Mean:
    def __init__(self, number):
        self.number = number

    def compute(self, inputs, context):
        return mtbench.Score(float(inputs.candidate.floats().mean()))
"""
SUITE = """
[suite]
name = "grey"
threads = 1
[[datasets]]
name = "grey"
[[translators]]
name = "identity"
[[metrics]]
name = "mean"
params.number = {numbers}
"""


def run(executor: str, count: int) -> tuple[float, float]:
    """Wall and processor seconds of a run with so many score units."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "grey.py").write_text(PLUGIN)
        (folder / "grey.toml").write_text(SUITE.format(numbers=list(range(count))))
        command = [sys.executable, "-m", "mtbench", "run", "grey.toml", "--plugin", "grey.py", "--device", "cpu", "-q"]
        command += ["--store", "store", "--out", "out", "--executor", executor]
        before, started = os.times(), time.monotonic()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        units = len(list((folder / "store/artefacts").glob("*/*/*/manifest.json")))
        assert units >= count
        return time.monotonic() - started, used


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs=2, default=(20, 80))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    few, many = given.units
    for executor in ("inline", "local:jobs=1", "local:jobs=1,start=spawn"):
        each: list[tuple[float, float]] = []
        for _ in range(given.repeats):
            small, large = run(executor, few), run(executor, many)
            each.append(tuple((b - a) / (many - few) for a, b in zip(small, large, strict=True)))  # type: ignore[arg-type]
        wall, processor = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{executor:26} {wall * 1000:8.1f} ms a unit, {processor * 1000:8.1f} ms of processor", flush=True)


if __name__ == "__main__":
    main()
