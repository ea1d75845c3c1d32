"""Units in processes of their own: the executor ``local`` and its limits."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import alive, children, ended, left_over, rows, same, until
from toys import toy_suite

from mtbench.engine.unitfile import read_outcome, write_job
from mtbench.engine.worker import execute_file
from mtbench.errors import PluginError, RequestError
from mtbench.registry.discovery import discover

SUITE = toy_suite("threads = 1")
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


def test_scores_are_bit_equal_whoever_runs_the_units(
    start: Any, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / "store-inline"))
    assert run("--out", "a", suite=SUITE).code == 0
    process = start("--jobs", "2", "--out", "b", suite=SUITE, MTBENCH_STORE=str(tmp_path / "store-local"))
    err = ended(process)
    assert process.returncode == 0, err
    assert f"{UNITS} units computed" in err
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
        (file,) = (tmp_path / f"store-{size}/artefacts/translate").rglob("images.npy")
        pixels.append(np.load(file).astype(int))
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
    outcomes = {mode: (tries[mode]["status"], tries[mode]["reason"]) for mode in modes}
    assert outcomes["hang"] == ("timeout", "It exceeded the limit of --timeout (6 s).")
    assert outcomes["die"] == ("lost", "Its process was killed by SIGSEGV.")
    assert outcomes["exit"][0] == "lost"
    assert "exit code 7" in outcomes["exit"][1]
    assert outcomes["eat"][0] == "oom"
    assert "the limit of --memory is 1144 MB" in outcomes["eat"][1]
    assert outcomes["shout"][0] == "error"
    assert "hoarse" in outcomes["shout"][1]
    assert "bytes omitted" in tries["shout"]["log"]
    assert len(tries["shout"]["log"]) < 100_000
    assert outcomes["litter"] == ("ok", "")
    status = {(r["translator"], r["translator_params"]): r["status"] for r in rows(out) if r["role"] == "translator"}
    assert Counter(status.values()) == {"measured": 2, "failed": 5}
    assert status["toy-same", "{}"] == "measured"
    for name in ("a", "b"):
        until(lambda name=name: not alive(int((tmp_path / f"litter-{name}").read_text())))  # type: ignore[misc]
    assert not left_over(store, out)


def test_a_plugin_that_changed_since_the_run_began_is_not_run(toys: Path, job: Any) -> None:
    plugin = next(p for p in discover([toys]).plugins if p.path == toys)
    file = toys.with_name("unit.json")
    write_job(file, job(translator="toy-same", plugin=plugin.reference(), code=plugin.sha256))
    toys.write_text(toys.read_text() + "\n")
    execute_file(file)
    outcome = read_outcome(file)
    assert (outcome.status, outcome.error_type) == ("error", PluginError.__name__)
    assert "was changed or removed" in outcome.reason


def test_a_server_that_dies_loses_its_units_and_is_replaced(toys: Path, session: Any, job: Any) -> None:
    registry = discover([toys])
    local = registry.get("executor", "local").create({"jobs": 2, "start": "fork"})
    local.start(session())
    before = children(os.getpid())
    try:
        local.submit(job())
        (server,) = children(os.getpid()) - before
        os.kill(server, signal.SIGSTOP)
        local.submit(job())
        os.kill(server, signal.SIGKILL)
        outcomes = []
        while len(outcomes) < 2:
            outcomes += local.wait(5)
        assert "lost" in {o.status for o in outcomes}
        local.submit(job())
        (outcome,) = local.wait(30)
        assert outcome.status == "error"
    finally:
        local.close()


def test_limits_need_an_executor_that_keeps_them(run: Any) -> None:
    ran = run("--timeout", "5")
    assert ran.code == 2
    assert "'inline' cannot stop a running unit" in ran.err


def test_a_unit_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "unit.json").write_text("{}")
    with pytest.raises(RequestError, match="not a unit file"):
        execute_file(tmp_path / "unit.json")
