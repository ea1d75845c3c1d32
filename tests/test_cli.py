"""The command line: exit codes, one paragraph for a mistake, and no traceback unless asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from mtbench.cli import COMMANDS

SUITE = """
datasets = ["toy"]
translators = ["toy-same"]
metrics = ["toy-mean"]
"""


@pytest.fixture
def suite(toys: Path) -> Path:
    path = toys.with_name("suite.toml")
    path.write_text(SUITE)
    return path


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_is_a_command_and_explains_itself(verb: str, run_cli: Any) -> None:
    command = importlib.import_module(f"mtbench.cli.{verb}").command
    assert isinstance(command, click.Command)
    ran = run_cli(verb, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: mtbench {verb}")
    assert command.help


def test_help_version_and_no_arguments(run_cli: Any) -> None:
    ran = run_cli("--help")
    assert ran.code == 0
    assert "mtbench run quickstart" in ran.out
    for verb in COMMANDS:
        assert verb in ran.out
    assert run_cli("-h").out == ran.out
    assert run_cli("--version").out.startswith("mtbench, version ")
    assert "Usage: mtbench" in "".join((run_cli().out, run_cli().err))


def test_python_dash_m() -> None:
    command = [sys.executable, "-m", "mtbench", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("mtbench, version ")


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["rum"], ["unknown command 'rum'", "Did you mean 'run'?"]),
        (["plan", "quikstart"], ["unknown suite 'quikstart'", "'quickstart'"]),
        (["run", "quickstart", "-t", "identiti"], ["unknown translator 'identiti'", "'identity'"]),
        (["run", "quickstart", "-t", "histogram:level=3"], ["unknown parameter 'level'", "'levels'"]),
        (["run", "quickstart", "--set", "seed=[1]"], ["unknown key 'seed'", "'seeds'"]),
        (["run", "quickstart", "--executor", "inlin"], ["unknown executor 'inlin'", "'inline'"]),
        (["run", "quickstart", "--fresh", "trainslate"], ["unknown stage 'trainslate'", "'translate'"]),
        (["run", "quickstart", "--batch-size", "0"], ["--batch-size"]),
        (["run", "quickstart", "--precision", "fp8"], ["--precision", "fp32"]),
        (["run"], ["Missing argument 'SUITE'"]),
        (["run", "quickstart", "--nonsense"], ["No such option", "--nonsense"]),
        (["export", "nowhere"], ["nowhere: the results directory does not exist"]),
        (["plugins", "identty"], ["unknown plugin 'identty'", "'identity'"]),
        (["plan", "quickstart", "--plugin", "none.py"], ["the plugin file none.py does not exist"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_request_is_one_paragraph_and_exit_code_2(
    arguments: list[str], texts: list[str], run_cli: Any, tmp_path: Path
) -> None:
    ran = run_cli(*arguments)
    assert ran.code == 2
    for text in texts:
        assert text in ran.err
    assert "Traceback" not in ran.err
    assert "Error: " in ran.err
    # One paragraph; click puts the usage above it.
    assert ran.err.partition("Error: ")[2].strip().count("\n") == 0
    assert not (tmp_path / "mtbench-results").exists()


def test_debug_shows_the_traceback(run_cli: Any) -> None:
    ran = run_cli("--debug", "plan", "quikstart")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert "unknown suite 'quikstart'" in ran.err


def test_a_bug_says_that_it_is_one_and_keeps_the_traceback(run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("half a patient")

    monkeypatch.setattr("mtbench.plan.request.PlanRequest.plan", broken)
    ran = run_cli("plan", "quickstart")
    assert ran.code == 1
    assert "This is a bug" in ran.err
    assert "ZeroDivisionError: half a patient" in ran.err
    assert "Traceback" not in ran.err
    log = Path(ran.err.split("the traceback is in ")[1].split(". Use")[0])
    assert "half a patient" in log.read_text()
    log.unlink()


def test_exit_codes_of_runs(suite: Path, toys: Path, run_cli: Any) -> None:
    command = ["run", suite, "--plugin", toys, "--device", "cpu", "--executor", "inline"]
    assert run_cli(*command).code == 0
    assert run_cli(*command, "-t", "toy-odd:mode=nan").code == 1
    assert run_cli(*command, "-t", "toy-od").code == 2


def test_results_and_store_where_they_are_asked_for(suite: Path, toys: Path, run_cli: Any, tmp_path: Path) -> None:
    ran = run_cli("run", suite, "--plugin", toys, "--executor", "inline", "--out", "here", "--store", "there")
    assert ran.code == 0
    assert "Results: here" in ran.err
    assert (tmp_path / "here" / "scores.parquet").is_file()
    assert list((tmp_path / "there" / "artefacts").rglob("manifest.json"))


def test_the_table_goes_to_standard_output_and_progress_to_standard_error(
    suite: Path, toys: Path, run_cli: Any
) -> None:
    ran = run_cli("run", suite, "--plugin", toys, "--executor", "inline")
    assert "toy-same" in ran.out
    assert "done" not in ran.out
    assert "[1/" in ran.err
    for line in ("prepare toy: computed", "translate toy toy-same: computed", "score toy toy-same toy-mean: computed"):
        assert line in ran.err


def test_run_then_export(suite: Path, toys: Path, run_cli: Any, tmp_path: Path) -> None:
    run_cli("run", suite, "--plugin", toys, "--executor", "inline", "--out", "out")
    ran = run_cli("export", "out", "--format", "csv")
    assert ran.code == 0, ran.err
    assert "toy-same" in ran.out
    assert run_cli("export", "out", "-o", "table.md").code == 0
    assert "toy-same" in (tmp_path / "table.md").read_text()


def test_one_plugin_in_detail(run_cli: Any) -> None:
    ran = run_cli("plugins", "histogram")
    assert ran.code == 0
    assert "levels" in ran.out
    assert "1024" in ran.out


def test_a_results_folder_that_cannot_be_made(run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run_cli("run", "quickstart", "--out", tmp_path / "file" / "out")
    assert ran.code == 2
    assert "file is a file. Expected a folder for results. Choose another with --out" in ran.err
