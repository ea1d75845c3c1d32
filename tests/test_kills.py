"""Runs that are killed or interrupted, and two runs on one store at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from processes import alive, children, ended, left_over, rows, same, until
from toys import toy_suite

from mtbench.errors import LeaseLostError
from mtbench.results.directory import Results
from mtbench.results.entries import RowState
from mtbench.store.leases import Leases, confirm
from mtbench.store.owner import is_gone, owner

SUITE = toy_suite("threads = 1")
UNITS = 22
NARROW = ("-t", "toy-shift", "-m", "toy-gap")


@pytest.fixture
def alone(run: Any, tmp_path: Path) -> Callable[..., Path]:
    """Run the toy suite in this process, into a store of its own; the results to compare with."""

    def go(*arguments: str) -> Path:
        assert run("--out", "alone", "--store", "another", *arguments, suite=SUITE).code == 0
        return tmp_path / "alone"

    return go


@pytest.fixture
def start(start: Any) -> Any:
    return partial(start, suite=SUITE)


# -- kills and interrupts


@pytest.mark.parametrize("whom", ["the run", "the run and its server", "the server"])
def test_a_kill_in_a_fit_loses_only_that_unit(
    whom: str, start: Any, run: Any, alone: Any, tmp_path: Path, store: Path
) -> None:
    process = start(*NARROW, "--jobs", "2", TOY_HANG=str(tmp_path / "fitting"))
    until((tmp_path / "fitting").exists, process)
    (server,) = children(process.pid)
    units = children(server)
    assert units
    if "server" in whom:
        os.kill(server, signal.SIGKILL)
    if "run" in whom:
        process.kill()
        process.communicate()
        until(lambda: not any(alive(pid) for pid in (server, *units)))
    else:
        assert "units died" in ended(process)
        assert process.returncode == 1
    out = tmp_path / "mtbench-results/toy"
    again = run(*NARROW, suite=SUITE)
    assert again.code == 0, again.err
    tries = [a for a in rows(out, "attempts") if a["name"] == "fit toy toy-shift seed 0"]
    assert [(a["attempt"], a["status"]) for a in tries] == [(1, "lost"), (2, "ok")]
    assert Counter(a["status"] for a in rows(out, "attempts") if a["stage"] == "prepare") == {"ok": 1}
    assert {r["status"] for r in rows(out)} == {"measured"}
    assert not left_over(tmp_path, store)
    assert same(out, alone(*NARROW))


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_at_work_and_sigterm_does_not(start: Any, tmp_path: Path, store: Path) -> None:
    out = tmp_path / "mtbench-results/toy"
    process = start(*NARROW, "--jobs", "1", TOY_HANG=str(tmp_path / "fitting"))
    until((tmp_path / "fitting").exists, process)
    process.send_signal(signal.SIGTERM)
    err = ended(process)
    assert process.returncode == 143
    assert "Finished units are kept; rerun the same command to resume." in err
    assert "Traceback" not in err
    (stopped,) = [a for a in rows(out, "attempts") if a["status"] == "lost"]
    assert (stopped["stage"], "The user stopped the run" in stopped["reason"]) == ("fit", True)
    (tmp_path / "fitting").unlink()

    slow = start(*NARROW, "--jobs", "1", TOY_HANG=str(tmp_path / "fitting"), TOY_HANG_SECONDS="2")
    until((tmp_path / "fitting").exists, slow)
    slow.send_signal(signal.SIGINT)
    err = ended(slow)
    assert slow.returncode == 130
    assert "finishing 1 running unit" in err
    tries = [a for a in rows(out, "attempts") if a["name"] == "fit toy toy-shift seed 0"]
    assert [a["status"] for a in tries] == ["lost", "ok"]
    assert not rows(out)
    assert not left_over(tmp_path, store)
    again = start(*NARROW, "--jobs", "1")
    assert " reused" in ended(again)
    assert {r["status"] for r in rows(out)} == {"measured"}


# -- two runs at once


@pytest.mark.slow
def test_two_runs_at_once_make_each_unit_once(start: Any, alone: Any, tmp_path: Path, store: Path) -> None:
    calls = tmp_path / "calls"
    both = [start("--jobs", "1", TOY_LOG=str(calls)) for _ in range(2)]
    for process in both:
        err = ended(process)
        assert process.returncode == 0, err
    out = tmp_path / "mtbench-results/toy"
    tries = Counter((a["name"], a["status"]) for a in rows(out, "attempts"))
    assert {status for _, status in tries} <= {"ok", "cached"}
    assert Counter(status for name, status in tries.elements())["ok"] == UNITS
    calls_by_name = Counter(calls.read_text().splitlines())
    assert calls_by_name["prepare"] == 1
    assert calls_by_name["fit shift by=1 seed=0"] == 1
    assert calls_by_name["extract"] == 4
    assert {r["status"] for r in rows(out)} == {"measured"}
    assert not left_over(tmp_path, store)
    assert not [p for p in (store / "leases").rglob("*") if p.is_file()]
    assert same(out, alone())


def test_a_claim_is_held_until_its_run_falls_silent(tmp_path: Path, refuse_writing: Any) -> None:
    one, two = Leases(tmp_path, patience=0.6), Leases(tmp_path, patience=0.6)
    mine = one.take("unit")
    assert mine is not None
    confirm(mine)
    until_now = time.monotonic() + 1.5
    while time.monotonic() < until_now:
        assert two.take("unit") is None, "it beats"
        time.sleep(0.05)
    refuse_writing(one.beat)  # it has stopped to beat, and does not know
    until(lambda: two.take("unit") is not None)
    with pytest.raises(LeaseLostError, match="another run has taken over this unit"):
        confirm(mine)
    one.release("unit")
    assert one.take("unit") is None
    two.close()
    assert one.take("unit") is not None
    one.close()
    assert not [p for p in (tmp_path / "leases").rglob("*") if p.is_file()]


def test_claims_of_a_process_that_is_gone_lapse_at_once(tmp_path: Path) -> None:
    code = f"import os, pathlib; from mtbench.store.leases import Leases; one = Leases(pathlib.Path({str(tmp_path)!r}))"
    code += "; one.take('unit'); one.take('other'); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len([p for p in (tmp_path / "leases").rglob("*") if p.is_file()]) == 3
    mine = Leases(tmp_path)
    assert mine.take("unit") is not None
    mine.sweep()
    assert not list((tmp_path / "leases").glob("other"))
    mine.close()
    assert not [p for p in (tmp_path / "leases").rglob("*") if p.is_file()]


def test_a_process_that_is_gone_is_known_to_be() -> None:
    assert not is_gone(owner())
    code = "from mtbench.store.owner import owner; print(owner())"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_gone(name)
    elsewhere = ".".join(["another", *name.split(".")[1:]])
    assert not is_gone(elsewhere)
    assert not is_gone("no-such-name")


def test_rows_of_runs_at_the_same_time_are_taken_by_when_they_were_written(tmp_path: Path) -> None:
    early, late = Results.create(tmp_path / "out", "toy"), Results.open(tmp_path / "out")

    def row(status: str) -> RowState:
        columns = {"metric": "m", "status": status}
        return RowState(row="r", status=status, columns=columns, scores=[{"label": ""}], cases=())

    with early.writing(), late.writing():
        late.append(row("failed"))
        early.append(row("measured"))
    assert [r["status"] for r in rows(tmp_path / "out")] == ["measured"]
    # A clock that was set back puts nothing new behind what was there.
    with late.writing():
        late.latest = 4e9
        late.append(row("skipped"))
    assert [r["status"] for r in rows(tmp_path / "out")] == ["skipped"]
