"""Units in processes of their own: the executor ``local``, limits, interrupts, and two runs at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import mtbench
from mtbench.data import Task
from mtbench.engine.executor import Session
from mtbench.engine.job import Job, Outcome
from mtbench.engine.unitfile import read_outcome, write_job
from mtbench.engine.worker import execute_file
from mtbench.errors import LeaseLostError, PluginError, RequestError
from mtbench.registry.discovery import discover
from mtbench.results.directory import Results
from mtbench.stages.table import TranslateOptions
from mtbench.stages.unit import Unit
from mtbench.store.leases import Leases, confirm
from mtbench.store.owner import is_gone, owner


def unused(job: Job) -> Outcome:
    """Of a session whose executor starts processes."""
    raise AssertionError(job.key)


SUITE = """
[suite]
name = "toy"
threads = 1
[[datasets]]
name = "toy"
[[translators]]
name = "toy-same"
[[translators]]
name = "toy-shift"
[[segmenters]]
name = "toy-threshold"
[[metrics]]
name = "toy-overlap"
[[metrics]]
name = "toy-gap"
"""
UNITS = 22
NARROW = ("-t", "toy-shift", "-m", "toy-gap")

ROGUE = """
import ctypes, os, subprocess, sys, time
from pathlib import Path
import mtbench


@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("rogue", ":Rogue", params={"does": "nothing"}, shorthand="does")


class Rogue:
    def __init__(self, does):
        self.does = does

    def translate(self, batch, context):
        if self.does == "hang":
            time.sleep(600)
        if self.does == "die":
            ctypes.string_at(0)
        if self.does == "exit":
            os._exit(7)
        if self.does == "eat":
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * 2**24))
                time.sleep(0.01)
        if self.does == "shout":
            for _ in range(20000):
                print("shout " * 20)
            raise ValueError("hoarse")
        if self.does == "litter":
            code = "import os,sys,time; os.setsid(); open(sys.argv[1],'w').write(str(os.getpid())); time.sleep(600)"
            for name in ("a", "b"):
                subprocess.Popen([sys.executable, "-c", code, os.environ["LITTER"] + name])
            while not all(os.path.exists(os.environ["LITTER"] + name) for name in ("a", "b")):
                time.sleep(0.01)
        return batch.source
"""


def rows(out: Path, table: str = "scores") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = mtbench.load(out, table).to_pylist()
    return found


@pytest.fixture
def start(toys: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``mtbench run`` on the toy suite in a process of its own."""
    (tmp_path / "toy.toml").write_text(SUITE)

    def go(*arguments: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mtbench", "run", "toy.toml", "--plugin", toys.name, "--device", "cpu"]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return go


@pytest.fixture
def alone(toys: Path, tmp_path: Path, run_cli: Any) -> Callable[..., Path]:
    """Run the toy suite in this process, into a store of its own; the results to compare with."""

    def go(*arguments: str) -> Path:
        command = ("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline")
        assert run_cli(*command, "--out", "alone", "--store", "another", *arguments).code == 0
        return tmp_path / "alone"

    return go


def ended(process: subprocess.Popen[str]) -> str:
    _, err = process.communicate(timeout=120)
    return err


def until(happened: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


def children(pid: int) -> set[int]:
    """The processes that a process has started."""
    return {int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def left_over(*folders: Path) -> list[Path]:
    return [p for folder in folders for p in folder.rglob(".tmp-*")]


def same(one: Path, two: Path) -> bool:
    """Whether scores and cases are equal bit for bit."""
    tables: list[list[pa.Table]] = [[mtbench.load(path, name) for name in ("scores", "cases")] for path in (one, two)]
    return all(a.equals(b) for a, b in zip(*tables, strict=True))


# -- the same numbers, whoever runs the units


def test_scores_are_bit_equal_whoever_runs_the_units(
    start: Any, tmp_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / "store-inline"))
    assert (
        run_cli("run", "toy.toml", "--plugin", "toys.py", "--device", "cpu", "--executor", "inline", "--out", "a").code
        == 0
    )
    process = start("--jobs", "2", "--out", "b", MTBENCH_STORE=str(tmp_path / "store-local"))
    err = ended(process)
    assert process.returncode == 0, err
    assert f"{UNITS} units done" in err
    assert same(tmp_path / "a", tmp_path / "b")
    tries = rows(tmp_path / "b", "attempts")
    assert {(a["executor"], a["status"], a["device"]) for a in tries} == {("local", "ok", "cpu")}
    assert not left_over(tmp_path)


def test_batch_size_changes_at_most_a_grey_level_here_and_there(
    toys: Path, tmp_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a network that convolves, whose sums may be made in another order."""
    suite = SUITE.replace("toy-same", "toy-net").replace('name = "toy"\n[[tr', 'name = "toy"\nparams.slices = 5\n[[tr')
    (tmp_path / "toy.toml").write_text(suite)
    net = Path(__file__).with_name("faults") / "net.py"
    command = ("run", "toy.toml", "--plugin", toys, "--plugin", net, "--device", "cpu", "--executor", "inline")
    pixels, values = [], []
    for size in ("1", "8"):
        monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / f"store-{size}"))
        assert run_cli(*command, "-t", "toy-net", "--batch-size", size, "--out", f"out-{size}").code == 0
        (made,) = (tmp_path / f"store-{size}/artefacts/translate").rglob("images.npy")
        pixels.append(np.load(made).astype(int))
        values.append([r["value"] for r in rows(tmp_path / f"out-{size}")])
    apart = np.abs(pixels[0] - pixels[1])
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 1e-3
    assert values[0] == pytest.approx(values[1], rel=1e-3)


# -- units that hurt themselves only


def test_each_failure_is_recorded_and_the_suite_goes_on(
    toys: Path, tmp_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    """One run with units that hang, crash, exit, eat memory, shout, and leave processes behind."""
    monkeypatch.setenv("LITTER", str(tmp_path / "litter-"))
    (tmp_path / "rogue.py").write_text(ROGUE)
    modes = ["hang", "die", "exit", "eat", "shout", "litter"]
    suite = SUITE.partition("[[translators]]")[0] + '[[translators]]\nname = "toy-same"\n'
    suite += f'[[translators]]\nname = "rogue"\nparams.does = {json.dumps(modes)}\n[[metrics]]\nname = "toy-mean"\n'
    (tmp_path / "toy.toml").write_text(suite)
    options = ("--jobs", "3", "--timeout", "6", "--memory", "1.2")
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--plugin", "rogue.py", "--device", "cpu", *options)
    assert ran.code == 1
    assert "Traceback" not in ran.err
    out = tmp_path / "mtbench-results/toy"
    tries = {
        a["name"].partition("does=")[2].rstrip("]"): a
        for a in rows(out, "attempts")
        if "does=" in a["name"] and a["stage"] == "translate"
    }
    found = {mode: (tries[mode]["status"], tries[mode]["reason"]) for mode in modes}
    assert found["hang"] == ("timeout", "It took longer than the 6 s that --timeout allows.")
    assert found["die"] == ("lost", "Its process died of SIGSEGV.")
    assert found["exit"][0] == "lost"
    assert "exit code 7" in found["exit"][1]
    assert found["eat"][0] == "oom"
    assert "--memory allows 1144 MB" in found["eat"][1]
    assert found["shout"][0] == "error"
    assert "hoarse" in found["shout"][1]
    assert "bytes left out" in tries["shout"]["log"]
    assert len(tries["shout"]["log"]) < 100_000
    assert found["litter"] == ("ok", "")
    status = {(r["translator"], r["translator_params"]): r["status"] for r in rows(out) if r["role"] == "translator"}
    assert Counter(status.values()) == {"measured": 2, "failed": 5}
    assert status["toy-same", "{}"] == "measured"
    for name in ("a", "b"):
        until(lambda name=name: not alive(int((tmp_path / f"litter-{name}").read_text())))  # type: ignore[misc]
    assert not left_over(store, out)


def test_a_plugin_that_changed_since_the_run_began_is_not_run(toys: Path) -> None:
    plugin = next(p for p in discover([toys]).plugins if p.path == toys)
    unit = Unit("k", "r", "translate", "same", Task("t"), TranslateOptions(), kind="translator", plugin="toy-same")
    job = Job(unit, "a", {}, {}, "s")
    file = toys.with_name("unit.json")
    write_job(file, replace(job, plugin=plugin.reference(), code=plugin.sha256))
    toys.write_text(toys.read_text() + "\n")
    execute_file(file)
    outcome = read_outcome(file)
    assert (outcome.status, outcome.error_type) == ("error", PluginError.__name__)
    assert "has changed or gone" in outcome.reason


def test_a_server_that_dies_loses_its_units_and_is_replaced(toys: Path, tmp_path: Path) -> None:
    registry = discover([toys])
    local = registry.get("executor", "local").create({"jobs": 2, "start": "fork"})
    local.start(Session(unused, lambda *about: None))
    before = children(os.getpid())
    job = Job(Unit("k", "r", "translate", "none", Task("t"), TranslateOptions()), "a", {}, {}, str(tmp_path))
    try:
        local.submit(job)
        (server,) = children(os.getpid()) - before
        os.kill(server, signal.SIGSTOP)
        local.submit(job)
        os.kill(server, signal.SIGKILL)
        outcomes = []
        while len(outcomes) < 2:
            outcomes += local.wait(5)
        assert "lost" in {o.status for o in outcomes}
        local.submit(job)
        (outcome,) = local.wait(30)
        assert outcome.status == "error"
    finally:
        local.close()


def test_limits_need_an_executor_that_keeps_them(toys: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "toy.toml").write_text(SUITE)
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--executor", "inline", "--timeout", "5")
    assert ran.code == 2
    assert "'inline' cannot stop a unit" in ran.err


# -- kills and interrupts


@pytest.mark.parametrize("whom", ["the run", "the run and its server", "the server"])
def test_a_kill_in_a_fit_loses_only_that_unit(whom: str, start: Any, alone: Any, tmp_path: Path, store: Path) -> None:
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
        assert "processes died" in ended(process)
        assert process.returncode == 1
    out = tmp_path / "mtbench-results/toy"
    again = start(*NARROW, "--jobs", "2")
    err = ended(again)
    assert again.returncode == 0, err
    tries = [a for a in rows(out, "attempts") if a["name"] == "fit toy toy-shift seed 0"]
    assert [(a["attempt"], a["status"]) for a in tries] == [(1, "lost"), (2, "ok")]
    assert Counter(a["status"] for a in rows(out, "attempts") if a["stage"] == "prepare") == {"ok": 1}
    assert {r["status"] for r in rows(out)} == {"measured"}
    assert not left_over(tmp_path, store)
    assert same(out, alone(*NARROW))


def test_ctrl_c_finishes_what_is_at_work_and_sigterm_does_not(start: Any, tmp_path: Path, store: Path) -> None:
    out = tmp_path / "mtbench-results/toy"
    process = start(*NARROW, "--jobs", "1", TOY_HANG=str(tmp_path / "fitting"))
    until((tmp_path / "fitting").exists, process)
    process.send_signal(signal.SIGTERM)
    err = ended(process)
    assert process.returncode == 143
    assert "What was finished is kept: the same command goes on from here." in err
    assert "Traceback" not in err
    (stopped,) = [a for a in rows(out, "attempts") if a["status"] == "lost"]
    assert (stopped["stage"], "stopped by the user" in stopped["reason"]) == ("fit", True)
    (tmp_path / "fitting").unlink()

    slow = start(*NARROW, "--jobs", "1", TOY_HANG=str(tmp_path / "fitting"), TOY_HANG_SECONDS="2")
    until((tmp_path / "fitting").exists, slow)
    slow.send_signal(signal.SIGINT)
    err = ended(slow)
    assert slow.returncode == 130
    assert "finishing 1 unit at work" in err
    tries = [a for a in rows(out, "attempts") if a["name"] == "fit toy toy-shift seed 0"]
    assert [a["status"] for a in tries] == ["lost", "ok"]
    assert not rows(out)
    assert not left_over(tmp_path, store)
    again = start(*NARROW, "--jobs", "1")
    assert "were there already" in ended(again)
    assert {r["status"] for r in rows(out)} == {"measured"}


def test_rerun_makes_a_unit_or_everything_anew(toys: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "toy.toml").write_text(SUITE)
    command = ("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline")
    assert run_cli(*command).code == 0
    assert "1 units done, 21 were there" in run_cli(*command, "--rerun", "fit toy toy-shift seed 0").err
    assert "Nothing to do" in run_cli(*command, "--rerun", "failed").err
    assert "22 units done" in run_cli(*command, "--rerun", "all").err
    ran = run_cli(*command, "--rerun", "fit toy toy-shit seed 0")
    assert (ran.code, "Did you mean 'fit toy toy-shift seed 0'" in ran.err) == (2, True)


# -- two runs at once


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
    made = Counter(calls.read_text().splitlines())
    assert made["prepare"] == 1
    assert made["fit shift by=1 seed=0"] == 1
    assert made["extract"] == 4
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
    with pytest.raises(LeaseLostError, match="another run took this unit over"):
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
    columns = {"metric": "m", "status": "failed"}
    row = {"type": "row", "row": "r", "scores": [{"label": ""}], "cases": []}
    with early.writing(), late.writing():
        late.append({**row, "columns": columns})
        early.append({**row, "columns": {**columns, "status": "measured"}})
    assert [r["status"] for r in rows(tmp_path / "out")] == ["measured"]
    # A clock that was set back puts nothing new behind what was there.
    with late.writing():
        late.latest = 4e9
        late.append({**row, "columns": {**columns, "status": "skipped"}})
    assert [r["status"] for r in rows(tmp_path / "out")] == ["skipped"]


def test_a_unit_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "unit.json").write_text("{}")
    with pytest.raises(RequestError, match="no unit file"):
        execute_file(tmp_path / "unit.json")
