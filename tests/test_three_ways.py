"""The suite `quickstart` by several executors, jobs and orders: the same table, every column, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mtbench


def table_of(folder: Path, way: str, *arguments: str) -> list[dict[str, object]]:
    """The scores of the quickstart, run into an empty store of its own."""
    there = {
        **os.environ,
        "MTBENCH_STORE": str(folder / f"store-{way}"),
        # Ray's workers give way to everything else by default, which on a busy machine is for ever.
        "RAY_worker_niceness": "0",
    }
    command = [sys.executable, "-m", "mtbench", "run", "quickstart", "--out", way, "--device", "cpu", *arguments]
    ran = subprocess.run(command, cwd=folder, env=there, capture_output=True, text=True, timeout=1800, check=False)
    assert ran.returncode == 0, ran.stderr
    rows: list[dict[str, object]] = mtbench.load(folder / way).to_pylist()
    assert {row["status"] for row in rows} == {"measured"}
    return rows


@pytest.mark.slow
def test_neither_processes_nor_their_number_change_a_score(tmp_path: Path, run_cli: Any) -> None:
    few = {name: f"datasets.phantom-lumbar.params.patients_{name}=8" for name in ("source", "target")}
    part = ("-d", "phantom-lumbar", "-t", "histogram", "-m", "swd", "--set", few["source"], "--set", few["target"])
    ran = run_cli("run", "quickstart", "--out", "inline", "--device", "cpu", "--executor", "inline", *part)
    assert ran.code == 0, ran.err
    alone = mtbench.load("inline").to_pylist()
    assert len(alone) == 3  # histogram, floor, truth
    assert {row["status"] for row in alone} == {"measured"}
    assert table_of(tmp_path, "local", "--executor", "local", "--jobs", "2", *part) == alone


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_the_whole_quickstart_is_the_same_by_three_executors(tmp_path: Path) -> None:
    """About five minutes each on two cores."""
    pytest.importorskip("ray")
    alone = table_of(tmp_path, "inline", "--executor", "inline")
    assert {row["translator"] for row in alone} >= {"cyclegan", "spade"}
    assert table_of(tmp_path, "local", "--executor", "local", "--jobs", "2") == alone
    assert table_of(tmp_path, "ray", "--executor", "ray") == alone
