"""Processes that tests start, and what they leave behind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import mtbench


def ended(process: subprocess.Popen[str]) -> str:
    """What a run has said on stderr when it is over."""
    _, err = process.communicate(timeout=120)
    return err


def until(happened: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait, three minutes at most; a ``process`` that ends meanwhile is an error."""
    deadline = time.monotonic() + 180
    while not happened():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


def children(pid: int) -> set[int]:
    """The processes that a process has started."""
    return {int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()}


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def left_over(*folders: Path) -> list[Path]:
    """Temporary files and folders."""
    return [p for folder in folders for p in folder.rglob(".tmp-*")]


def same(one: Path, two: Path) -> bool:
    """Whether scores and cases are equal bit for bit."""
    tables: list[list[pa.Table]] = [[mtbench.load(path, name) for name in ("scores", "cases")] for path in (one, two)]
    return all(a.equals(b) for a, b in zip(*tables, strict=True))


def rows(results: Path, table: str = "scores") -> list[dict[str, Any]]:
    """The rows of a table of results."""
    records: list[dict[str, Any]] = mtbench.load(results, table).to_pylist()
    return records
