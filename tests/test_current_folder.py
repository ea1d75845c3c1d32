"""The folder in which mtbench is started runs no code: neither there nor in any Python that mtbench starts."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

import mtbench
from mtbench import childprocess
from mtbench.conformance import check
from mtbench.preparation.worker import Workers
from mtbench.registry.plugin import PluginReference
from mtbench.registry.probing import Imports, trial
from mtbench_plugins.executors.local.client import Local
from mtbench_plugins.executors.ray.executor import Ray
from mtbench_plugins.executors.ray.task import work
from mtbench_plugins.executors.slurm import PARAMS
from mtbench_plugins.executors.slurm.script import batch_script
from mtbench_plugins.translators.command.process import run as execute

ROOT = Path(mtbench.__file__).resolve().parent
PLUGINS = ROOT.parent / "plugins" / "mtbench_plugins"
SHADOWS = ("torch", "numpy", "json", "selectors", "mtbench_plugins")
SUITE = toy_suite("threads = 1", "references = false", translators=("toy-same",), metrics=("toy-mean",))
PROGRAM = """
import json, os, pathlib, shutil, sys
source, target, report = map(pathlib.Path, sys.argv[1:])
for file in source.iterdir():
    shutil.copy(file, target)
report.write_text(json.dumps({"environment": dict(os.environ), "safe": sys.flags.safe_path}))
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules in it that leave the file RAN when one is imported."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(
            f"import pathlib; pathlib.Path(__file__).with_name('RAN').open('a').write('{name} ')\n"
            f"raise ImportError('{name} of the current folder')\n"
        )
    monkeypatch.chdir(folder)
    return folder


def ran(folder: Path) -> str:
    mark = folder / "RAN"
    return mark.read_text() if mark.exists() else ""


@pytest.fixture
def as_in_a_notebook(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder first on this process's path, as in ``python -c`` and interactive use, and in PYTHONPATH."""
    (hostile / "mtbench.py").write_text((hostile / "torch.py").read_text())
    monkeypatch.setenv("PYTHONPATH", os.pathsep + "/elsewhere" + os.pathsep)
    monkeypatch.setattr(sys, "path", ["", str(hostile), *sys.path])
    return hostile


# -- every place


STARTS = {
    # file: what it starts
    "mtbench/registry/probing.py": "the trial of imports",
    "mtbench/preparation/worker.py": "the reading processes",
    "mtbench/conformance/examine.py": "the process of the checks",
    "mtbench/engine/doctor.py": "nvidia-smi",
    "mtbench/results/provenance.py": "git",
    "mtbench_plugins/executors/local/client.py": "the fork server",
    "mtbench_plugins/executors/local/server.py": "units",
    "mtbench_plugins/executors/ray/task.py": "units",
    "mtbench_plugins/executors/slurm/queue.py": "Slurm's commands",
    "mtbench_plugins/translators/command/process.py": "the user's program, and its guard",
}
STARTING = re.compile(
    r"\bsubprocess\.(?:Popen|run|call|check_\w+|get\w*output)\(|\bos\.(?:exec|spawn|posix_spawn|system|popen)\w*\(|"
    r"\bmultiprocessing\.|\bProcessPoolExecutor\b|\bfrom subprocess import"
)


def files_with(pattern: re.Pattern[str]) -> set[str]:
    return {
        f"{root.name}/{path.relative_to(root).as_posix()}"
        for root in (ROOT, PLUGINS)
        for path in root.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }


def test_every_place_that_starts_a_process_is_known_and_tested_here() -> None:
    assert files_with(STARTING) == set(STARTS), "start Python with mtbench.childprocess, and add a test here"


def test_only_the_helper_names_the_interpreter() -> None:
    assert files_with(re.compile(r"sys\._?(base_)?executable")) == {"mtbench/childprocess.py"}


# -- what is passed on


TOOL = f"import os, runpy; found = runpy.run_path({childprocess.__file__!r})['search_path'](); here = os.getcwd()\n"
TOOL += "print([entry for entry in found if entry in ('', here, here + '/sub') or not os.path.isabs(entry)])\n"


@pytest.mark.parametrize(
    ("how", "pythonpath", "kept"),
    [
        (["-c", TOOL], None, []),
        (["-m", "tool"], None, []),
        (["-P", "-m", "tool"], "{here}", ["{here}"]),
        (["tool.py"], None, ["{here}"]),  # the user's own program imports what lies beside it
        (["sub/tool.py"], None, ["{here}/sub"]),
        (["-c", TOOL], ":", []),
        (["-c", TOOL], "/other:", []),
        (["sub/tool.py"], ":/other", ["{here}/sub"]),
        (["sub/tool.py"], "/one::/two", ["{here}/sub"]),
        (["-m", "tool"], ":/other", []),
        (["-c", TOOL], "{here}", ["{here}", "{here}"]),
        (["sub/tool.py"], ".:", ["{here}/sub", "{here}"]),
        (["-m", "tool"], "{link}", ["{here}"]),
        (["-c", "import os, sys; sys.path.insert(1, os.getcwd())\n" + TOOL], None, ["{here}"]),
    ],
)
def test_the_current_folder_is_passed_on_only_where_the_user_put_it(
    how: list[str], pythonpath: str | None, kept: list[str], tmp_path: Path
) -> None:
    here, link = tmp_path / "here", tmp_path / "link"
    (here / "sub").mkdir(parents=True)
    link.symlink_to(here)
    for folder in (here, here / "sub"):
        (folder / "tool.py").write_text(TOOL)
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    if pythonpath is not None:
        env["PYTHONPATH"] = pythonpath.format(here=here, link=link)
    done = subprocess.run([sys.executable, *how], cwd=here, env=env, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == [entry.format(here=here) for entry in kept]


def test_mtbench_is_found_where_it_was_imported_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout that is not installed, the current folder is the only place that holds mtbench."""
    monkeypatch.chdir(ROOT.parent)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    assert childprocess.search_path() == [str(ROOT.parent), "/elsewhere"]


def test_a_current_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    assert childprocess.search_path() == ["/elsewhere"]
    monkeypatch.chdir(tmp_path)


# -- real processes in a hostile folder


def test_the_trial_of_imports(as_in_a_notebook: Path) -> None:
    problems = trial([Imports(modules=("numpy", "mtbench_plugins.suites")), Imports(modules=("no",))])
    assert list(problems) == [1]
    assert ran(as_in_a_notebook) == ""


@pytest.mark.slow
def test_the_checks_of_a_plugin(as_in_a_notebook: Path) -> None:
    (report,) = check("identity", third_party=False)
    assert not [verdict for verdict in report.verdicts if verdict.status == "failed"]
    assert ran(as_in_a_notebook) == ""


def test_the_reading_processes(as_in_a_notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    reading = "def convert(read, case, path):\n    import numpy, selectors\n    return case, {}\n"
    (tmp_path / "lib" / "reading_of_a_test.py").write_text(reading)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "lib")])
    workers = Workers(importlib.import_module("reading_of_a_test").convert)
    try:
        assert workers(None, "case", tmp_path) == ("case", {})
    finally:
        workers.close()
    assert ran(as_in_a_notebook) == ""


def test_a_task_of_ray(as_in_a_notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "unit.json").write_text("{}")
    how, printed = work(str(tmp_path / "unit.json"), 60.0, str(as_in_a_notebook))
    assert how == "exit"
    assert "this is not a unit file" in printed
    assert ran(as_in_a_notebook) == ""


@pytest.mark.parametrize(
    ("pythonpath", "left"), [(None, None), ("", ""), (":", ""), (":/a b::/c:", "/a b:/c"), ("/a:.", "/a:.")]
)
def test_a_job_of_slurm(pythonpath: str | None, left: str | None, tmp_path: Path) -> None:
    """The script with a stand-in for Python: what it is started with, and in which environment."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nenv > {tmp_path}/environment\n')
    python.chmod(0o755)
    options = {name: param.default for name, param in PARAMS.items()}
    setup = [] if pythonpath is None else [f"export PYTHONPATH='{pythonpath}'"]  # as `module load` does
    script = batch_script(tmp_path, 1, {**options, "setup": setup, "python": str(python)}, threads=1, gpu=False)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["bash", "-u", "-c", script], env={**env, "SLURM_ARRAY_TASK_ID": "0"}, check=True)
    assert (tmp_path / "arguments").read_text().split() == ["-P", "-m", "mtbench", "worker", f"{tmp_path}/0.json"]
    seen = dict(line.partition("=")[::2] for line in (tmp_path / "environment").read_text().splitlines())
    assert seen.get("PYTHONPATH") == left
    default = batch_script(tmp_path, 1, options, threads=1, gpu=False)
    assert f"\n{sys.executable} -P -m mtbench worker " in default


def test_ray_is_initialised_elsewhere(hostile: Path, monkeypatch: pytest.MonkeyPatch, session: Any) -> None:
    """Ray puts the folder in which it is initialised first on its workers' path, where they import the task."""
    seen: list[str] = []
    stand_in = types.SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **settings: seen.append(os.getcwd()),
        cluster_resources=dict,
        remote=lambda function: function,
    )
    monkeypatch.setitem(sys.modules, "ray", stand_in)  # type: ignore[arg-type]
    executor = Ray("", 1.0, 2)
    executor.start(session("cpu"))
    assert seen == ["/"]
    assert os.getcwd() == str(hostile)


WITNESS = """
import json, os, pathlib, sys
import numpy, selectors, torch
folder = pathlib.Path(__file__).parent
folder.joinpath("witness.json").write_text(json.dumps({"path": sys.path, "safe": sys.flags.safe_path}))
"""


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_units_of_the_executor_local(
    start: str, as_in_a_notebook: Path, tmp_path: Path, session: Any, job: Any
) -> None:
    (tmp_path / "witness.py").write_text(WITNESS)
    sha256 = hashlib.sha256(WITNESS.encode()).hexdigest()
    plugin = PluginReference("witness", "", "file", path=tmp_path / "witness.py", sha256=sha256)
    executor = Local(jobs=1, start=start)
    executor.start(session("cpu"))
    try:
        executor.submit(job(translator="witness", device="cpu", plugin=plugin))
        while not (outcomes := executor.wait(60.0)):
            pass
    finally:
        executor.close()
    assert "it implements no hook" in outcomes[0].reason, outcomes[0]
    seen = json.loads((tmp_path / "witness.json").read_text())
    assert seen["safe"]
    assert not {"", str(as_in_a_notebook)} & set(seen["path"])
    assert ran(as_in_a_notebook) == ""


def console_script(tmp_path: Path) -> list[str]:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "mtbench"
    script.write_text("from mtbench.cli import main\nmain()\n")
    return [sys.executable, str(script)]


@pytest.mark.parametrize("pythonpath", [None, os.pathsep + "/elsewhere"])
@pytest.mark.parametrize("how", ["module", "script"])
def test_mtbench_itself(how: str, pythonpath: str | None, hostile: Path, tmp_path: Path) -> None:
    """From the first that it imports; entry points that lie in the folder are no plugins."""
    egg = hostile / "evil.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (egg / "entry_points.txt").write_text("[mtbench]\nevil = evil\n")
    (hostile / "evil.py").write_text((hostile / "torch.py").read_text())
    command = [sys.executable, "-m", "mtbench"] if how == "module" else console_script(tmp_path)
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    env |= {} if pythonpath is None else {"PYTHONPATH": pythonpath}
    done = subprocess.run([*command, "plugins"], env=env, capture_output=True, text=True, check=False)
    assert ran(hostile) == ""
    assert done.returncode == 0, done.stderr
    assert "evil" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_run(start: str, hostile: Path, toys: Path, tmp_path: Path) -> None:
    """All of it, with a program of the user's, which sees neither our path nor our flags."""
    (hostile / "suite.toml").write_text(SUITE)
    (tmp_path / "program.py").write_text(PROGRAM)
    program = f"{sys.executable} {tmp_path}/program.py {{input}} {{output}} {tmp_path}/seen.json"
    command = [sys.executable, "-m", "mtbench"] if start == "fork" else console_script(tmp_path)
    command += ["run", "suite.toml", "--plugin", str(toys), "-t", f"command:run={program}"]
    command += ["--executor", f"local:start={start}", "--device", "cpu"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    env |= {"PYTHONPATH": os.pathsep + "/elsewhere", "MINE": "yes"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran(hostile) == ""
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert not seen["safe"]
    assert seen["environment"]["MINE"] == "yes"
    assert not {"PYTHONPATH", "PYTHONSAFEPATH"} & set(seen["environment"])


@pytest.mark.parametrize("own", [None, "1"])
def test_a_program_of_the_user_has_the_users_own_safe_path(
    own: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if own is not None:
        monkeypatch.setenv("PYTHONSAFEPATH", own)
    show = "import os, sys; print(os.environ.get('PYTHONSAFEPATH'), sys.flags.safe_path)"
    with childprocess.protected_children():
        execute([sys.executable, "-c", show], env={}, timeout=30, log=tmp_path / "log", where="test")
    assert os.environ.get("PYTHONSAFEPATH") == own
    assert (tmp_path / "log").read_text().split() == [str(own), str(own is not None)]


# -- Pythons that libraries start


SPAWNING = """
import multiprocessing, sys
multiprocessing.get_context(sys.argv[1]).Process(target=print, args=("started",)).start()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_multiprocessing(method: str, hostile: Path, tmp_path: Path) -> None:
    """Its helpers are started by `-c` too, and take `-P` over."""
    (hostile / "multiprocessing.py").write_text((hostile / "torch.py").read_text())
    (tmp_path / "spawning.py").write_text(f"if __name__ == '__main__':{SPAWNING}".replace("\n", "\n    "))
    command = childprocess.command(str(tmp_path / "spawning.py"), method)
    done = subprocess.run(command, env=childprocess.environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "started\n"
    assert ran(hostile) == ""


COMPILING = """
from test_training import Budget, Fit, context, paired, train
train(Fit(), paired(), context(), Budget(steps=1), compile=True)
"""


@pytest.mark.slow
def test_compiling_networks(hostile: Path, tmp_path: Path) -> None:
    """Torch tries what it has compiled in `python -c`."""
    (hostile / "ctypes.py").write_text((hostile / "torch.py").read_text())
    env = {**childprocess.environment(), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    env["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
    subprocess.run(childprocess.command("-c", COMPILING), env=env, check=True)
    assert (tmp_path / "cache").exists()
    assert ran(hostile) == ""
