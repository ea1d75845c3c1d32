"""Fixtures that several test files share."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from toys import SUITE

from mtbench.openmp import wait_briefly
from mtbench.registry import probing

if TYPE_CHECKING:
    from mtbench.engine.executor import Session
    from mtbench.engine.job import Job, Outcome

wait_briefly()
if "PYTEST_XDIST_WORKER" in os.environ:
    # A core for each process of the tests. The units that they start set their own number of threads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
TOYS = Path(__file__).with_name("toys.py")
LONGEST = (
    "test_readme",
    "test_three_ways",
    "test_kills",
    "test_local",
    "test_run",
    "test_translator_training",
    "test_report",
)
"""Files that begin first, so that at the end no process waits for another."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Plain ``pytest`` has a process for each core, four at most, since each takes a gigabyte.

    One file needs no other process, and what runs on request only measures time or needs the machine for itself.
    """
    files = {argument.partition("::")[0] for argument in config.args}
    on_request = not config.option.markexpr.startswith("not ")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if on_request or cores == 1 or (len(files) == 1 and files.pop().endswith(".py")) else min(cores, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def fast_disk() -> Iterator[None]:
    """Flushing to the disk costs milliseconds a file, and nothing here pulls the plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def tried_toys() -> Iterator[None]:
    """A run tries the import of plugin files in another process, twice. The toys pass: that costs each run a second."""
    content = TOYS.read_bytes()

    def is_toys(wanted: probing.Imports) -> bool:
        return bool(wanted.file) and not wanted.modules and wanted.file.read_bytes() == content

    def trial(wanted: Sequence[probing.Imports]) -> dict[int, str]:
        others = [position for position, each in enumerate(wanted) if not is_toys(each)]
        problems = probing.trial([wanted[position] for position in others])
        return {others[position]: problem for position, problem in problems.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtbench.registry.discovery.trial", trial)
        patch.setattr("mtbench.engine.preflight.trial", trial)
        yield


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artefact store of the test's own; nothing ever touches the user's."""
    folder = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("MTBENCH_STORE", str(folder))
    return folder


@pytest.fixture
def refuse_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have ``write_text`` on one file fail from now on, as a full disk does."""
    plain = Path.write_text

    def refuse(file: Path) -> None:
        def write_text(path: Path, *arguments: Any, **how: Any) -> int:
            if path == file:
                raise OSError(errno.ENOSPC, "No space left on device")
            return plain(path, *arguments, **how)

        monkeypatch.setattr(Path, "write_text", write_text)

    return refuse


@pytest.fixture
def data_folder() -> Path:
    """The folder of real test data; skips where there is none."""
    folder_name = os.environ.get("MTBENCH_TEST_DATA")
    if not folder_name:
        pytest.skip("MTBENCH_TEST_DATA is not set: it names a folder with real images in data/")
    folder = Path(folder_name) / "data"
    if not folder.is_dir():
        pytest.skip(f"MTBENCH_TEST_DATA is {folder_name}, which has no folder data/")
    return folder


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A plugin file with tiny plugins of every kind; see ``tests/toys.py``."""
    return Path(shutil.copy(TOYS, tmp_path / "toys.py"))


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process, from ``tmp_path``: exit code and what it printed."""
    from mtbench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, printed.out, printed.err)

    return run


@pytest.fixture
def run(run_cli: Callable[..., Ran], toys: Path) -> Callable[..., Ran]:
    """Write a suite of toys as ``toy.toml`` and run it in this process; arguments go to the command line."""

    def go(*arguments: str | Path, suite: str = SUITE) -> Ran:
        toys.with_name("toy.toml").write_text(suite)
        return run_cli("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline", *arguments)

    return go


@pytest.fixture
def start(toys: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``mtbench run`` on a suite of toys in a process of its own; named arguments go to its environment."""

    def go(*arguments: str, suite: str = SUITE, **env: str) -> subprocess.Popen[str]:
        toys.with_name("toy.toml").write_text(suite)
        command = [sys.executable, "-m", "mtbench", "run", "toy.toml", "--plugin", toys.name, "--device", "cpu"]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=toys.parent,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return go


@pytest.fixture
def session() -> Callable[..., Session]:
    """A session for executors that start processes: nothing is executed in this one, and nobody watches."""
    from mtbench.engine.executor import Session

    def execute(job: Job) -> Outcome:
        raise AssertionError(job.key)

    return lambda device="": Session(execute, lambda *progress: None, 1, device)


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A translation without inputs, which fails for want of them where it is run."""
    from mtbench.data import Task
    from mtbench.engine.job import Job
    from mtbench.stages.table import TranslateOptions
    from mtbench.stages.unit import Unit

    def make(key: str = "k", translator: str = "", store: Path = tmp_path / "store", **fields: Any) -> Job:
        kind = "translator" if translator else ""
        unit = Unit(key, "r", "translate", "same", Task("t"), TranslateOptions(), kind=kind, plugin=translator)
        return Job(unit, "a", {}, {}, str(store), **fields)

    return make


@pytest.fixture
def make_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Write a distribution to disk, entry points and all, and put it on ``sys.path``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    before = set(sys.modules)

    def make(
        name: str,
        entry_points: Mapping[str, str],
        modules: Mapping[str, str],
        *,
        version: str = "1.0",
        editable: bool = False,
    ) -> Path:
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{entry} = {target}\n" for entry, target in entry_points.items())
        (info / "entry_points.txt").write_text(f"[mtbench]\n{lines}")
        if editable:
            (info / "direct_url.json").write_text('{"url": "file:///src", "dir_info": {"editable": true}}')
        importlib.invalidate_caches()
        return info

    yield make
    for module in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
