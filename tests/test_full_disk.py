"""Disks that fill up or turn read-only at any write, and clocks that are set back; run with ``pytest -m faults``."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

import mtbench
from mtbench.results.verify import verify

pytestmark = pytest.mark.faults

SUITE = toy_suite("threads = 1", translators=("toy-shift",), metrics=("toy-gap",))
WRITES = ((os, "fsync"), (os, "rename"), (os, "replace"), (tempfile, "mkstemp"), (tempfile, "mkdtemp"))


class Writes:
    """Counts the calls that write; from the one numbered ``last`` on they are refused with ``number``."""

    def __init__(self, patch: pytest.MonkeyPatch, last: float, number: int, below: Path) -> None:
        self.count, self.refused = 0, 0
        for module, name in WRITES:
            patch.setattr(module, name, self.wrapped(getattr(module, name), last, number, below, name))

    def wrapped(self, real: Callable[..., Any], last: float, number: int, below: Path, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            about = named.get("dir") or (arguments[-1] if arguments else "")
            if name == "fsync":
                about = os.readlink(f"/proc/self/fd/{about}")
            if Path(str(about)).resolve().is_relative_to(below):
                self.count += 1
                if self.count >= last:
                    self.refused += 1
                    raise OSError(number, os.strerror(number))
            return None if name == "fsync" else real(*arguments, **named)

        return call


@pytest.fixture
def run(run: Any) -> Any:
    """A run in this process, whose folder is ``name``."""
    return lambda name: run("--store", f"{name}/store", "--out", f"{name}/out", suite=SUITE)


def tables(folder: Path) -> list[Any]:
    return [mtbench.load(folder / "out", name) for name in ("scores", "cases")]


@pytest.mark.parametrize(
    ("number", "part", "message", "count"),
    [
        (errno.ENOSPC, "", "the disk is full", 24),
        (errno.EROFS, "out", "write permission denied", 6),
    ],
)
def test_a_fault_at_any_write_loses_nothing(
    number: int, part: str, message: str, count: int, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused from one write on: ``count`` times, at writes spread evenly from the first to the last."""
    with pytest.MonkeyPatch.context() as patch:
        writes = Writes(patch, float("inf"), 0, tmp_path / "whole" / part)
        assert run("whole").code == 0
    expected, last = tables(tmp_path / "whole"), writes.count
    assert last > count
    points = sorted({1 + round(n * (last - 1) / (count - 1)) for n in range(count)})
    for point in points:
        name = f"at-{point}"
        with pytest.MonkeyPatch.context() as patch:
            writes = Writes(patch, point, number, tmp_path / name / part)
            ran = run(name)
        assert writes.refused, point
        where = (point, ran.code, ran.err)
        assert "Traceback" not in ran.err, where
        assert "unexpected error" not in ran.err, where
        if ran.code:
            assert ran.err.count(message) >= 1, where
        else:
            # Only a view of the journal could not be written; it is made anew when it is read.
            assert tables(tmp_path / name)[0].equals(expected[0]), where
        again = run(name)
        assert again.code == 0, (point, again.err)
        assert all(a.equals(b) for a, b in zip(tables(tmp_path / name), expected, strict=True)), point
        assert not list((tmp_path / name).rglob(".tmp-*")), point
        assert not [finding for finding in verify(tmp_path / name / "out") if finding.problem], point
    with capsys.disabled():
        print(f"\n{len(points)} of {last} writes refused ({os.strerror(number)})")


def test_a_clock_that_is_set_back_changes_no_order(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure was recorded a year later, by the clock, than the success that follows it."""
    monkeypatch.setenv("TOY_FAIL", "score gap")
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + 3e7)
        assert run("clock").code == 1
    failed = tables(tmp_path / "clock")[0].to_pylist()
    assert {r["status"] for r in failed if r["role"] == "translator"} == {"failed"}
    monkeypatch.delenv("TOY_FAIL")
    assert run("clock").code == 0
    assert run("straight").code == 0
    assert all(a.equals(b) for a, b in zip(tables(tmp_path / "clock"), tables(tmp_path / "straight"), strict=True))
