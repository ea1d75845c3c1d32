"""``mtbench new``: what it writes is clean, typed, installs offline, and passes the conformance kit as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtbench.conformance import check
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover
from mtbench.scaffold import KINDS, WRAPS, Project, new

REGISTRY = discover(third_party=False)
# A project for each kind and wrapping, and a name that makes lines long.
PROJECTS = [*(Project(kind, f"my-{kind}") for kind in KINDS), *(Project("translator", f"w-{w}", w) for w in WRAPS)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project of each kind and wrapping, and a file of each kind."""
    folder = tmp_path_factory.mktemp("new")
    for project in PROJECTS:
        new(project, REGISTRY, folder / project.name)
    for kind in KINDS:
        new(Project(kind, f"mini-{kind}", minimal=True), REGISTRY, folder / "files")
    return folder


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_a_project_is_complete(written: Path) -> None:
    for project in PROJECTS:
        files = {path.relative_to(written / project.name).as_posix() for path in (written / project.name).rglob("*")}
        assert {"README.md", "tests/test_conformance.py"} <= files, project
        if not project.is_program:
            assert {"pyproject.toml", ".github/workflows/tests.yml", f"{project.package}/py.typed"} <= files, project


def test_all_of_it_is_ruff_clean(written: Path) -> None:
    # For what is no distribution; each of those brings settings of its own.
    (written / "ruff.toml").write_text('line-length = 120\nlint.select = ["E", "F", "W", "I", "B", "UP"]\n')
    for how in (["check"], ["format", "--diff"]):
        ran = run("-m", "ruff", *how, ".", cwd=written)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_single_files_conform(written: Path) -> None:
    light = [written / "files" / f"mini-{kind}.py" for kind in KINDS if kind != "executor"]
    reports = check(*light, third_party=False)
    assert {report.kind for report in reports} == {*KINDS} - {"executor"}
    for report in reports:
        assert report.ok, f"{report.name}: " + "; ".join(f"{v.check}: {v.text}" for v in report.failures)


def install(project: Path, site: Path) -> None:
    """Install a project as an author would who has no network."""
    done = run(
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        site,
        project,
        cwd=project,
    )
    assert done.returncode == 0, done.stderr


def test_a_project_installs_offline_and_its_own_test_passes(written: Path, tmp_path: Path) -> None:
    install(written / "my-metric", tmp_path / "site")
    shown = run("-m", "mtbench", "plugins", "my-metric", cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert "metric of mtbench-my-metric 0.1.0" in shown.stdout
    tested = run(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests",
        cwd=written / "my-metric",
        PYTHONPATH=str(tmp_path / "site"),
    )
    assert tested.returncode == 0, tested.stdout


@pytest.mark.slow
@pytest.mark.parametrize("project", [p for p in PROJECTS if not p.is_program], ids=lambda project: project.name)
def test_every_project_installs_and_its_own_test_passes(project: Project, written: Path, tmp_path: Path) -> None:
    install(written / project.name, tmp_path / "site")
    place = written / project.name
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=place, PYTHONPATH=str(tmp_path / "site"))
    assert tested.returncode == 0, tested.stdout


@pytest.mark.slow
def test_programs_and_folders_pass_their_own_tests(written: Path) -> None:
    for name in ("w-command", "w-folder"):
        tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=written / name)
        assert tested.returncode == 0, tested.stdout


@pytest.mark.slow
def test_all_of_it_is_typed(written: Path) -> None:
    projects = [project for project in PROJECTS if not project.is_program]
    packages = [word for project in projects for word in ("-p", project.package)]
    settings = written / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n[mypy-pyarrow.*]\nignore_missing_imports = true\n")
    path = os.pathsep.join(str(written / project.name) for project in projects)
    ran = run("-m", "mypy", "--config-file", settings, *packages, cwd=written, MYPYPATH=path)
    assert ran.returncode == 0, ran.stdout


# -- bad input


def test_a_name_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the translator 'identity' already exists, in medical-translation-bench"):
        new(Project("translator", "identity"), REGISTRY, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["My Model", "../up", "", "2d", "a--b", "x/y"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a usable name"):
        new(Project("metric", name), REGISTRY, tmp_path / "x")


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="already exists"):
        new(Project("metric", "mine"), REGISTRY, tmp_path / "x")
    new(Project("metric", "mine", minimal=True), REGISTRY, tmp_path)
    with pytest.raises(RequestError, match=r"mine.py already exists"):
        new(Project("metric", "mine", minimal=True), REGISTRY, tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    # Root may write everywhere; nobody can make a folder below a file.
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="the folder is not writable"):
        new(Project("metric", "mine"), REGISTRY, tmp_path / "file" / "mine")
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(RequestError, match="the folder is not writable: Permission denied"):
            new(Project("metric", "mine"), REGISTRY, tmp_path / "closed" / "mine")


def test_a_distribution_that_would_hide_another_is_refused(
    tmp_path: Path, make_distribution: Callable[..., Path]
) -> None:
    make_distribution("mtbench-mine", {}, {})
    with pytest.raises(RequestError, match=r"a distribution 'mtbench-mine' \(1.0\) is already installed"):
        new(Project("metric", "mine"), REGISTRY, tmp_path / "mine")
    make_distribution("other", {}, {"yours_mtbench": ""})
    with pytest.raises(RequestError, match="the Python package 'yours_mtbench' already exists"):
        new(Project("metric", "yours"), REGISTRY, tmp_path / "yours")


@pytest.mark.slow
def test_the_command_says_what_is_next(run_cli: Any, tmp_path: Path) -> None:
    ran = run_cli("new", "translator", "gamma", "--minimal")
    assert ran.code == 0, ran.err
    assert "Next: mtbench check gamma.py" in ran.out
    assert run_cli("check", "gamma.py").code == 0
    assert run_cli("new", "metric", "gamma", "--wrap", "folder").code == 2
