"""The executors for many machines, on a real Slurm cluster and a real Ray cluster of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slurm_cluster import slurm
from toys import toy_suite

import mtbench
from mtbench.engine.job import Job
from mtbench.engine.unitfile import read_job
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover
from mtbench.registry.userconfig import UserConfig
from mtbench.stages.table import ScoreOptions
from mtbench_plugins.executors.ray.executor import Ray
from mtbench_plugins.executors.slurm import PARAMS
from mtbench_plugins.executors.slurm.executor import Slurm
from mtbench_plugins.executors.slurm.script import batch_script

SUITE = toy_suite("threads = 1", "references = false", translators=("toy-shift",), metrics=("toy-gap",))


def run(toys: Path, out: str, executor: str, config: Path | None = None, suite: str = SUITE, **env: str) -> Any:
    (toys.parent / "toy.toml").write_text(suite)
    command = [sys.executable, "-m", "mtbench", "run", "toy.toml", "--plugin", str(toys), "--device", "cpu"]
    command += ["--out", out, "--executor", executor, *(["--config", str(config)] if config else [])]
    # Ray's workers give way to everything else by default, which on a busy machine is for ever.
    there = {**os.environ, "RAY_worker_niceness": "0", **env}
    return subprocess.run(command, cwd=toys.parent, env=there, capture_output=True, text=True, timeout=300, check=False)


def numbers(folder: Path) -> list[dict[str, Any]]:
    table = mtbench.load(folder).select(["dataset", "role", "translator", "metric", "label", "value", "input_digest"])
    records: list[dict[str, Any]] = table.to_pylist()
    return records


def statuses(folder: Path) -> list[str]:
    return sorted({a["status"] for a in mtbench.load(folder, "attempts").to_pylist()})


# -- what needs no cluster


def options(**changed: Any) -> dict[str, Any]:
    return {**{name: param.default for name, param in PARAMS.items()}, **changed}


def test_the_batch_script_says_what_the_user_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    settings = options(partition="gpu", gres="gpu:1", setup=["module load cuda"], at_once=3, python="/opt/my python")
    text = batch_script(folder, 5, settings, threads=2, gpu=True)
    assert "#SBATCH --array=0-4%3" in text
    assert "#SBATCH --partition=gpu" in text
    assert "#SBATCH --gres=gpu:1" in text
    assert "\nmodule load cuda\n" in text
    assert f"'/opt/my python' -P -m mtbench worker '{folder}'/$SLURM_ARRAY_TASK_ID.json &" in text
    assert "account" not in text
    assert "gres" not in batch_script(folder, 5, settings, threads=2, gpu=False)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_the_users_table_stands_below_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "mtbench.toml"
    config.write_text('[executors.slurm]\npartition = "long"\ntime = "2-00:00:00"\n')
    configure = discover().get("executor", "slurm").spec.configure
    assert configure is not None
    settings = configure(options(partition="short"), UserConfig(config))
    assert settings["partition"] == "short"
    assert settings["time"] == "2-00:00:00"
    config.write_text('[executors.slurm]\npartitoin = "long"\n')
    with pytest.raises(RequestError, match="partition"):
        configure(options(), UserConfig(config))


def test_without_slurm_the_request_is_refused_before_any_work(
    run_cli: Any, toys: Path, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setenv("PATH", str(toys.parent))
    (toys.parent / "toy.toml").write_text(SUITE)
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--executor", "slurm")
    assert ran.code == 2
    assert "`sbatch` is not installed" in ran.err
    assert not (store / "artefacts").exists()


# -- GPUs, on stand-ins for Slurm's commands and for Ray


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm that answer and do nothing; the folder in which ``sbatch`` keeps what it is given."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, does in {"sbatch": f'cp "$2" {folder}/$$.sh; echo $$', "sinfo": "", "squeue": "", "scancel": ""}.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def one_of_each(job: Any, store: Path) -> list[Job]:
    """A translation and a score."""
    translation = job("t", store=store)
    score = replace(job("s", store=store).unit, stage="score", options=ScoreOptions())
    return [translation, replace(translation, unit=score)]


@pytest.mark.parametrize(
    ("device", "gres", "asked"),
    [
        ("cuda", "", "gpu:1"),
        ("cuda:1", "", "gpu:1"),
        ("cuda", "gpu:a100:1", "gpu:a100:1"),
        ("", "gpu:1", "gpu:1"),
        ("cpu", "gpu:1", None),
    ],
)
def test_slurm_gives_gpus_to_those_that_use_one(
    sbatch: Path, job: Any, session: Any, store: Path, device: str, gres: str, asked: str | None
) -> None:
    slurm = Slurm(**options(gres=gres))
    assert slurm.problems(device) == []
    slurm.start(session(device))
    for each in one_of_each(job, store):
        slurm.submit(replace(each, device=device))
    slurm.wait(0)
    found = {}
    for script in sbatch.glob("*.sh"):
        text = script.read_text()
        unit_file = re.search(r"worker (\S+)/\$SLURM", text)
        asks = re.search(r"--gres=(\S+)", text)
        assert unit_file is not None
        for file in sorted(Path(unit_file[1]).glob("*.json")):
            unit = read_job(file)
            found[unit.unit.stage] = (asks and asks[1], unit.device)
    slurm.close()
    assert found == {"translate": (asked, "cuda:0" if asked else "cpu"), "score": (None, "cpu")}


def test_slurm_never_trains_on_cpus_in_silence(sbatch: Path, run_cli: Any, toys: Path, store: Path) -> None:
    (toys.parent / "toy.toml").write_text(SUITE)
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--executor", "slurm")
    assert ran.code == 2
    assert "neither gres nor --device is set, so units could train on CPUs unnoticed. Set gres=gpu:1 or" in ran.err
    assert not list(sbatch.glob("*.sh"))
    assert not (store / "artefacts").exists()


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """In the place of Ray: a cluster with so many GPUs, and what tasks ask for, with the device of their unit."""

    def cluster(gpus: int) -> list[tuple[float, str]]:
        asked: list[tuple[float, str]] = []

        class Remote:
            def options(self, **how: Any) -> Any:
                return SimpleNamespace(
                    remote=lambda unit, *rest: asked.append((how["num_gpus"], read_job(Path(unit)).device)) or unit
                )

        monkeypatch.setitem(
            sys.modules,
            "ray",
            SimpleNamespace(
                __spec__=ModuleSpec("ray", None),
                is_initialized=lambda: True,
                init=lambda **how: None,
                cluster_resources=lambda: {"CPU": 2.0, **({"GPU": float(gpus)} if gpus else {})},
                remote=lambda work: Remote(),
                cancel=lambda *task, **how: None,
            ),
        )
        return asked

    return cluster


@pytest.mark.parametrize(
    ("device", "gpus", "num_gpus", "asked"),
    [
        ("cuda", 2, 1.0, [(1.0, "cuda:0"), (0, "cpu")]),
        ("cuda:1", 2, 0.5, [(0.5, "cuda:0"), (0, "cpu")]),
        ("", 1, 1.0, [(1.0, "cuda:0"), (0, "cpu")]),
        ("", 0, 1.0, [(0, "cpu"), (0, "cpu")]),
        ("", 1, 0.0, [(0, "cpu"), (0, "cpu")]),
        ("cpu", 2, 1.0, [(0, "cpu"), (0, "cpu")]),
    ],
)
def test_ray_gives_gpus_to_those_that_use_one(
    fake_ray: Any, job: Any, session: Any, store: Path, device: str, gpus: int, num_gpus: float, asked: Any
) -> None:
    found = fake_ray(gpus)
    ray = Ray("", num_gpus, 0)
    ray.start(session(device))
    for each in one_of_each(job, store):
        ray.submit(replace(each, device=device))
    ray.close()
    assert found == asked


def test_ray_refuses_gpus_that_no_unit_would_get(fake_ray: Any, session: Any) -> None:
    fake_ray(0)
    with pytest.raises(RequestError, match=r"--device cuda: the cluster has no GPU\. Add a node with a GPU"):
        Ray("", 1.0, 0).start(session("cuda"))
    assert "num_gpus=0 contradict" in Ray("", 0.0, 0).problems("cuda:1")[-1]
    assert not any("num_gpus" in problem for problem in Ray("", 0.0, 0).problems("cpu"))


# -- a real Slurm


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    for above in (folder, *list(folder.parents)[:2]):
        above.chmod(0o711)
    with slurm(folder):
        yield folder


def quick(tmp_path: Path, **changed: Any) -> Path:
    config = tmp_path / "mtbench.toml"
    values = {"memory": "1G", "poll": 0.5, "time": "00:05:00", **changed}
    lines = [f"{k} = {v if not isinstance(v, str) else repr(v)}" for k, v in values.items()]
    config.write_text("[executors.slurm]\n" + "\n".join(lines) + "\n")
    return config


@pytest.mark.cluster
def test_slurm_gives_the_numbers_that_one_process_gives(cluster: Path, toys: Path, store: Path, tmp_path: Path) -> None:
    there = run(toys, "there", "slurm", quick(tmp_path, setup=["export MTBENCH_SEEN=1"]))
    assert there.returncode == 0, there.stderr
    here = run(toys, "here", "inline", MTBENCH_STORE=str(tmp_path / "other"))
    assert here.returncode == 0, here.stderr
    assert numbers(toys.parent / "there") == numbers(toys.parent / "here")
    assert statuses(toys.parent / "there") == ["ok"]
    assert not list((store / "queue").glob("*"))


def meanwhile(flag: Path, act: Any) -> threading.Thread:
    """Do something once a fit has begun to hang."""

    def watch() -> None:
        for _ in range(480):
            if flag.exists():
                act()
                return
            time.sleep(0.25)

    helper = threading.Thread(target=watch)
    helper.start()
    return helper


@pytest.mark.cluster
def test_a_job_that_is_cancelled_costs_its_own_unit(cluster: Path, toys: Path, store: Path, tmp_path: Path) -> None:
    flag = tmp_path / "hanging"
    cancel = ["scancel", "--name=mtbench", "--state=RUNNING"]
    helper = meanwhile(flag, lambda: subprocess.run(cancel, check=False))
    ran = run(toys, "there", "slurm", quick(tmp_path), TOY_HANG=str(flag))
    helper.join()
    assert ran.returncode == 1, ran.stderr
    lost = {a["stage"]: a for a in mtbench.load(toys.parent / "there", "attempts").to_pylist() if a["status"] == "lost"}
    assert "fit" in lost
    assert "cancelled" in lost["fit"]["reason"]
    again = run(toys, "there", "slurm", quick(tmp_path))
    assert again.returncode == 0, again.stderr
    assert all(row["value"] is not None for row in numbers(toys.parent / "there"))


@pytest.mark.cluster
def test_a_job_that_is_queued_again_costs_nothing_but_time(
    cluster: Path, toys: Path, store: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "hanging"

    def requeue() -> None:
        queue = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True)
        for job in queue.stdout.split():
            subprocess.run(["scontrol", "requeue", job], check=False)

    helper = meanwhile(flag, requeue)
    ran = run(toys, "there", "slurm", quick(tmp_path), TOY_HANG=str(flag), TOY_HANG_SECONDS="6")
    helper.join()
    assert ran.returncode == 0, ran.stderr
    assert statuses(toys.parent / "there") == ["ok"]


# -- a real Ray


@pytest.mark.cluster
def test_ray_gives_the_numbers_that_one_process_gives(toys: Path, store: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    there = run(toys, "there", "ray")
    assert there.returncode == 0, there.stderr
    here = run(toys, "here", "inline", MTBENCH_STORE=str(tmp_path / "other"))
    assert here.returncode == 0, here.stderr
    assert numbers(toys.parent / "there") == numbers(toys.parent / "here")
    assert not list((store / "queue").glob("*"))


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_losing_a_node_costs_nothing_but_time(toys: Path, store: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    flag = tmp_path / "hanging"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        cluster.wait_for_nodes()

        def lose() -> None:
            for node in nodes:
                cluster.remove_node(node, allow_graceful=False)

        helper = meanwhile(flag, lose)
        ran = run(toys, "there", f"ray:address={cluster.address}", TOY_HANG=str(flag), TOY_HANG_SECONDS="15")
        helper.join()
    finally:
        cluster.shutdown()
    assert ran.returncode == 0, ran.stderr
    assert all(row["value"] is not None for row in numbers(toys.parent / "there"))
