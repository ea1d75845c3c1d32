"""``--device``: the GPU that was asked for, or a refusal before any work. Needs no GPU."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

import mtbench
from mtbench.compute.devices import resolve_device
from mtbench.errors import RequestError
from mtbench.stages.table import STAGES, ScoreOptions
from mtbench_plugins.executors.local.client import Local

NONE = "none is visible to PyTorch"
TWO = "2 are visible to PyTorch"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As if there were so many GPUs."""

    def fake(count: int, visible: str | None = None) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)
        monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    fake(0)
    return fake


@pytest.mark.parametrize(
    ("name", "count", "device"),
    [
        (None, 0, "cpu"),
        (None, 2, "cuda:0"),
        ("", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda", 2, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda:11", 12, "cuda:11"),
    ],
)
def test_what_a_device_stands_for(gpus: Any, name: str | None, count: int, device: str) -> None:
    gpus(count)
    assert resolve_device(name) == device


@pytest.mark.parametrize(
    ("name", "count", "visible", "message"),
    [
        ("cuda:7", 2, None, rf"this machine has no GPU 'cuda:7': {TWO}. Expected cuda, or one of cuda:0 to cuda:1\.$"),
        ("cuda:2", 2, "3,5", rf"no GPU 'cuda:2': {TWO} with CUDA_VISIBLE_DEVICES='3,5'. Expected cuda, or one of"),
        ("cuda:1", 1, None, r"no GPU 'cuda:1': 1 is visible to PyTorch. Expected cuda or cuda:0\.$"),
        ("cuda:10000000000000000000000", 1, None, "no GPU 'cuda:1000"),
        ("cuda", 0, None, rf"this machine has no GPU 'cuda': {NONE}. Expected cpu\.$"),
        ("cuda:0", 0, "", rf"no GPU 'cuda:0': {NONE} with CUDA_VISIBLE_DEVICES=''. Expected cpu\.$"),
        (
            "mps",
            2,
            "0",
            "the device 'mps' is not supported: mtbench supports CPUs and CUDA only. Expected cpu, cuda",
        ),
        ("xpu:3", 2, "0", "'xpu:3' is not supported"),
        *((odd, 2, None, f"unknown device '{odd}'. Expected cpu, cuda, cuda:1") for odd in ("gpu", "CUDA", "tpu")),
        *((odd, 2, None, f"unknown device '{odd}'") for odd in ("cuda:-1", "cuda:x", "cuda:", "cuda:1.0", "cuda1")),
        *((odd, 2, None, "unknown device") for odd in ("cuda:01", "cuda:٣", "cuda:0\n", " cuda", "cpu:0", "0", "c")),
    ],
)
def test_a_device_that_is_refused(gpus: Any, name: str, count: int, visible: str | None, message: str) -> None:
    gpus(count, visible)
    with pytest.raises(RequestError, match=message):
        resolve_device(name)


@pytest.mark.parametrize("executor", ["local", "local:start=spawn", "inline"])
@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("cuda", 0, NONE),
        ("cuda:7", 2, TWO),
        ("cuda:-1", 2, "unknown device 'cuda:-1'"),
        ("mps", 2, "'mps' is not supported"),
    ],
)
def test_a_run_is_refused_before_it_begins(
    run_cli: Any, tmp_path: Path, gpus: Any, executor: str, device: str, count: int, message: str
) -> None:
    gpus(count)
    ran = run_cli("run", "quickstart", "--device", device, "--executor", executor, "--out", "out")
    assert ran.code == 2
    assert message in ran.err
    assert f"'{device}'" in ran.err
    assert not (tmp_path / "out").exists()


ELSEWHERE = """
from dataclasses import replace
import mtbench
from mtbench_plugins.executors.inline import Inline

@mtbench.hookimpl
def mtbench_executors():
    yield mtbench.ExecutorSpec("elsewhere", ":Elsewhere")

class Elsewhere(Inline):
    here = False

    def submit(self, job):
        print("asked for", job.device)
        super().submit(replace(job, device="cpu"))
"""
SUITE = """
[[datasets]]
name = "toy"
[[translators]]
name = "toy-same"
[[metrics]]
name = "toy-gap"
"""


def test_a_gpu_of_another_machine_is_not_looked_for_here(run_cli: Any, tmp_path: Path, toys: Path, gpus: Any) -> None:
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    (tmp_path / "s.toml").write_text(SUITE)
    plugins = ("--plugin", toys, "--plugin", "elsewhere.py")
    ran = run_cli("run", "s.toml", *plugins, "--executor", "elsewhere", "--device", "cuda:7", "--out", "out")
    assert (ran.code, "asked for cuda:7" in ran.out) == (0, True), ran.err


def test_new_images_and_folders_are_refused_before_they_are_read(run_cli: Any, tmp_path: Path, gpus: Any) -> None:
    gpus(2)
    for verb in (("translate", "identity", "nothing.png", "out.png"), ("score", "nothing", "nowhere")):
        ran = run_cli(*verb, "--device", "cuda:7")
        assert (ran.code, TWO in ran.err, "nothing" in ran.err) == (2, True, False)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session: Any, job: Any) -> Any:
    """What the executor ``local`` asks of its server for four units, where that has found some GPUs."""

    (tmp_path / "server.py").write_text(SERVER)
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {tmp_path}/server.py {log} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    def submit(device: str, count: int, stages: str = "tttt") -> list[tuple[str | None, str]]:
        monkeypatch.setenv("GPUS", str(count))
        local = Local(4, "fork")
        local.start(session(device))
        try:
            for key, stage in enumerate(stages):
                given = job(str(key), device=device)
                if stage == "s":
                    given = replace(given, unit=replace(given.unit, stage="score", options=ScoreOptions()))
                local.submit(given)
        finally:
            local.close()
        requests = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        return [(env.get("CUDA_VISIBLE_DEVICES"), unit.get("device", "")) for env, unit in requests]

    return submit


SERVER = """
import json, os, socket, sys
log, *_, socket_number, folder = sys.argv[1:]
control = socket.socket(fileno=int(socket_number))
control.sendall(json.dumps({"gpus": int(os.environ["GPUS"])}).encode() + b"\\n")
with open(log, "w") as requests:
    for line in control.makefile():
        request = json.loads(line)
        with open(request["unit"]) as unit:
            print(json.dumps([request["env"], json.load(unit)]), file=requests)
"""
"""In the place of the fork server: it has so many GPUs, and keeps the units that it is to start."""


@pytest.mark.parametrize(
    ("device", "count", "visible", "expected"),
    [
        ("cuda:1", 2, None, ["1", "1", "1", "1"]),
        ("cuda:1", 3, "4,GPU-7, 6", ["GPU-7"] * 4),
        ("cuda", 2, None, ["0", "1", "0", "1"]),
        ("", 3, None, ["0", "1", "2", "0"]),
        ("", 2, "4,5,-1,6", ["4", "5", "4", "5"]),
    ],
)
def test_the_gpus_of_local_units(
    submitted: Any, gpus: Any, device: str, count: int, visible: str | None, expected: list[str]
) -> None:
    gpus(count, visible)
    assert submitted(device, count) == [(name, "cuda:0") for name in expected]


def test_local_units_that_use_no_gpu_take_none_and_see_none(submitted: Any, gpus: Any) -> None:
    gpus(2, "4,GPU-7")
    first, second, none = ("4", "cuda:0"), ("GPU-7", "cuda:0"), ("", "cpu")
    assert submitted("cuda", 2, "tsstst") == [first, none, none, second, none, first]
    assert submitted("cpu", 2, "ts") == [(None, "cpu")] * 2


@pytest.mark.parametrize(
    ("device", "jobs", "cpu_jobs", "slots", "on_gpus"),
    [
        ("cuda", 0, 0, "cores", 2),
        ("cuda:1", 0, 0, "cores", 1),
        ("cuda", 4, 0, "cores", 4),
        ("cuda", 0, 3, 3, 2),
        ("cuda", 5, 3, 3, 5),
        ("cpu", 0, 0, "cores", 0),
        ("cpu", 4, 0, 4, 0),
        ("cpu", 4, 3, 4, 0),
        ("cpu", 0, 3, 3, 0),
    ],
)
def test_two_pools_of_slots(
    submitted: Any,
    session: Any,
    gpus: Any,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    jobs: int,
    cpu_jobs: int,
    slots: Any,
    on_gpus: int,
) -> None:
    gpus(2)
    monkeypatch.setenv("GPUS", "2")
    local = Local(jobs, "fork", cpu_jobs)
    local.start(session(device))
    try:
        cores = len(os.sched_getaffinity(0))
        assert (local.slots, local.gpu_slots) == (cores if slots == "cores" else slots, on_gpus)
    finally:
        local.close()


TWO_POOLS = """
import json
from dataclasses import replace
from pathlib import Path
import mtbench
from mtbench.stages import STAGES

@mtbench.hookimpl
def mtbench_executors():
    yield mtbench.ExecutorSpec("pools", ":Pools")

class Pools:
    limits, slots, gpu_slots = False, 1, 1

    def __init__(self):
        self.at_work = []

    def problems(self, device):
        return []

    def start(self, session):
        self.execute = session.execute

    def submit(self, job):
        self.at_work.append(job)
        with open("at-work", "a") as file:
            print(json.dumps([job.unit.stage for job in self.at_work]), file=file)

    def wait(self, seconds):
        # What uses a GPU takes longest.
        self.at_work.sort(key=lambda job: STAGES[job.unit.stage].uses_device)
        return [self.execute(replace(self.at_work.pop(0), device="cpu"))]

    def close(self):
        pass
"""


def test_scores_are_computed_while_a_gpu_trains(run_cli: Any, tmp_path: Path, toys: Path) -> None:
    (tmp_path / "pools.py").write_text(TWO_POOLS)
    suite = toy_suite("threads = 1", translators=("toy-same", "toy-shift"), metrics=("toy-gap", "toy-mean"))
    (tmp_path / "s.toml").write_text(suite)
    plugins = ("--plugin", toys, "--plugin", "pools.py")
    ran = run_cli("run", "s.toml", *plugins, "--executor", "pools", "--device", "cuda", "--out", "out")
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in (tmp_path / "at-work").read_text().splitlines()]
    on_gpus = [sum(STAGES[stage].uses_device for stage in line) for line in lines]
    assert (max(on_gpus), max(len(line) - n for line, n in zip(lines, on_gpus, strict=True))) == (1, 1)
    assert any(set(line) == {"fit", "score"} for line in lines)


def test_local_units_without_a_gpu(submitted: Any, gpus: Any) -> None:
    assert submitted("", 0) == [(None, "")] * 4
    assert submitted("cpu", 2) == [(None, "cpu")] * 4
    for device, count in (("cuda:7", 2), ("cuda", 0)):
        with pytest.raises(RequestError, match=f"no GPU '{device}'"):
            submitted(device, count)


def test_other_verbs_in_python(gpus: Any, tmp_path: Path) -> None:
    for call in (
        lambda: mtbench.api.run("quickstart", device="cuda:7", out=str(tmp_path / "out")),
        lambda: mtbench.score("a", "b", device="cuda"),
        lambda: mtbench.translate("identity", "a.png", "b.png", device="cuda:0"),
    ):
        with pytest.raises(RequestError, match=NONE):
            call()
    assert not (tmp_path / "out").exists()
