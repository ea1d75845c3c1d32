"""Observers: each is called whatever the others do, a failure is shown once and logged, and no run fails of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

import mtbench
from mtbench.data import Task
from mtbench.engine.job import Outcome
from mtbench.engine.observers import LOG, Observers
from mtbench.registry.discovery import discover
from mtbench.stages.table import ScoreOptions
from mtbench.stages.unit import Unit

BAD = """
import mtbench

class Quit(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")

@mtbench.hookimpl
def mtbench_unit_finished(unit, outcome):
    unit.inputs.clear()
    outcome.info.clear()
    {does}

@mtbench.hookimpl
def mtbench_suite_finished(tables):
    tables.clear()
    {does}
"""
GOOD = """
import pathlib
import mtbench

@mtbench.hookimpl
def mtbench_unit_finished(unit, outcome):
    with pathlib.Path(__file__).with_suffix(".units").open("a") as file:
        file.write(f"{unit.name}: {outcome.status} {outcome.info} {unit.inputs}\\n")

@mtbench.hookimpl
def mtbench_suite_finished(tables):
    pathlib.Path(__file__).with_suffix(".tables").write_text(" ".join(sorted(tables)))
"""
SUITE = toy_suite("threads = 1", "references = false", translators=("toy-same",), metrics=("toy-mean",))
UNIT = Unit("k", "r", "score", "score a", Task("t"), ScoreOptions(), "metric", "m", inputs={"candidate": "c"})
OUTCOME = Outcome("k", "ok", info={"images": 3})


class Watched:
    """A good and a bad observer from plugin files, called in this order or the reverse."""

    def __init__(self, folder: Path, does: str, first: str) -> None:
        self.good, self.bad = folder / "good.py", folder / "bad.py"
        self.good.write_text(GOOD)
        self.bad.write_text(BAD.format(does=does))
        files = [self.good, self.bad] if first == "bad" else [self.bad, self.good]
        self.said: list[str] = []
        registry = discover(files, third_party=False)
        assert not [plugin.problem for plugin in registry.plugins if plugin.problem]
        self.observers = Observers(registry, folder, self.said.append)

    def seen(self, what: str) -> str:
        file = self.good.with_suffix(f".{what}")
        return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("first", ["good", "bad"])
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise Quit('enough\\n\\nof it')", "Quit: enough of it"),
        ("raise Mute", "Mute: <exception str() failed>"),
    ],
)
def test_every_observer_is_called_and_a_failure_is_shown_once(does: str, said: str, first: str, tmp_path: Path) -> None:
    watched = Watched(tmp_path, does.replace("\n", "\\n"), first)
    for _ in range(3):
        watched.observers.tell("mtbench_unit_finished", UNIT.name, unit=UNIT, outcome=OUTCOME)
    assert watched.seen("units") == "score a: ok {'images': 3} {'candidate': 'c'}\n" * 3
    watched.observers.tell("mtbench_suite_finished", tables={"scores": None, "cases": None})
    assert watched.seen("tables") == "cases scores"
    assert (UNIT.inputs, OUTCOME.info) == ({"candidate": "c"}, {"images": 3})
    log = tmp_path / LOG
    assert watched.said == [
        f"The plugin 'bad' of {watched.bad} failed in mtbench_{which}_finished: {said}. "
        f"The run continues. The traceback is in {log}."
        for which in ("unit", "suite")
    ]
    text = log.read_text()
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("(as before)") == 2
    assert text.count(f" mtbench_unit_finished of {watched.bad}:bad: score a\n") == 3
    assert f'File "{watched.bad}", line' in text


def test_without_a_failure_there_is_no_log(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "pass", "bad")
    watched.observers.tell("mtbench_unit_finished", UNIT.name, unit=UNIT, outcome=OUTCOME)
    watched.observers.tell("mtbench_suite_finished", tables={})
    assert watched.seen("units")
    assert not watched.said
    assert not (tmp_path / LOG).exists()


def test_ctrl_c_in_an_observer_is_the_users(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "raise KeyboardInterrupt", "bad")
    with pytest.raises(KeyboardInterrupt):
        watched.observers.tell("mtbench_unit_finished", UNIT.name, unit=UNIT, outcome=OUTCOME)
    assert not watched.said


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "raise ValueError('no')", "bad")
    (tmp_path / LOG).mkdir()
    watched.observers.tell("mtbench_unit_finished", UNIT.name, unit=UNIT, outcome=OUTCOME)
    assert watched.seen("units")
    assert "cannot be written" in watched.said[0]


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_run_with_an_observer_that_fails(quiet: tuple[str, ...], toys: Path, tmp_path: Path, run_cli: Any) -> None:
    (tmp_path / "toy.toml").write_text(SUITE)
    watched = Watched(tmp_path, "raise SystemExit('over')", "bad")
    plugins = [word for file in (toys, watched.good, watched.bad) for word in ("--plugin", file)]
    ran = run_cli("run", "toy.toml", *plugins, "--device", "cpu", "--executor", "inline", "--out", "out", *quiet)
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    for hook in ("mtbench_unit_finished", "mtbench_suite_finished"):
        assert ran.err.count(f"The plugin 'bad' of {watched.bad} failed in {hook}: SystemExit: over.") == 1
    names = {attempt["name"] for attempt in mtbench.load(tmp_path / "out", "attempts").to_pylist()}
    assert {line.partition(":")[0] for line in watched.seen("units").splitlines()} == names
    assert watched.seen("tables") == "attempts cases scores"
    assert (tmp_path / "out" / LOG).exists()
    assert [row["status"] for row in mtbench.load(tmp_path / "out").to_pylist()] == ["measured"]
    assert run_cli("results", "verify", "out").code == 0
