"""Damaged files of every format end in mtbench's own error, in time and in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzz_readers.py")


def fuzz(folder: Path, first: int, count: int) -> None:
    """Read a batch in a process of its own; anything but an error of mtbench's fails, with the seed to repeat it."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder / str(first)), str(first), str(count)],
        capture_output=True,
        text=True,
        timeout=60 + 2 * count,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"the process died after {lines[-1:]}: {done.stderr[-2000:]}"
    *problems, last = lines
    assert not problems, "\n".join(f"seed {p['seed']}, {p['file']}: {p['problem'][-1500:]}" for p in problems[:5])
    assert last["read"] == count
    assert last["peak"] < 2**30, f"{last['peak'] / 2**20:.0f} MiB"


def test_two_hundred_damaged_files(tmp_path: Path) -> None:
    fuzz(tmp_path, 0, 200)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(8))
def test_two_thousand_damaged_files(tmp_path: Path, batch: int) -> None:
    fuzz(tmp_path, 1000 + 250 * batch, 250)
