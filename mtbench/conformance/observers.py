"""Checks of plugins that observe a run, and of suites."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mtbench.conformance import general, tasks
from mtbench.conformance.subject import Subject
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.engine.job import Outcome
from mtbench.plan.suite import load_suite
from mtbench.results.schema import ATTEMPTS, CASES, SCORES
from mtbench.stages.table import TranslateOptions
from mtbench.stages.unit import Unit

HOOKS = ("mtbench_unit_finished", "mtbench_suite_finished")


def _units() -> Iterator[tuple[Unit, Outcome]]:
    unit = Unit("k" * 64, "r" * 64, "translate", "translate some on conformance", tasks.TASK, TranslateOptions())
    yield unit, Outcome(unit.key, "ok", seconds=1.5, images=6, info={"images": 6})
    yield unit, Outcome(unit.key, "error", reason="it has no such key", error_type="KeyError", log="Traceback ...")
    yield unit, Outcome(unit.key, "timeout", reason="it took longer than 5 s")


def _hook(subject: Subject, name: str) -> Any:
    function = vars(subject.module).get(name)
    if function is None:
        raise UntriedError(f"it does not implement {name}")
    return function


def units(subject: Subject) -> str:
    """It accepts successful and failed units, and changes neither."""
    hook = _hook(subject, HOOKS[0])
    wanted = hook.__code__.co_varnames[: hook.__code__.co_argcount]
    for unit, outcome in _units():
        arguments = {"unit": unit, "outcome": outcome}
        before = copy.deepcopy(arguments)
        with subject.watched(HOOKS[0]):
            hook(**{name: arguments[name] for name in wanted})
        if arguments != before:
            raise FailedError("it changes its arguments", "Work on a copy")
    return "successful, failed and timed-out units"


def tables(subject: Subject) -> str:
    """It accepts the tables at the end, including empty ones."""
    hook = _hook(subject, HOOKS[1])
    arguments = {"scores": SCORES.empty_table(), "attempts": ATTEMPTS.empty_table(), "cases": CASES.empty_table()}
    with subject.watched(HOOKS[1]):
        hook(arguments)
    return "tables without rows"


def suite(subject: Subject) -> str:
    """The file can be read as a suite."""
    read = load_suite(subject.spec.name, subject.kept["registry"])
    return f"{len(read.datasets)} data sets, {len(read.translators)} translators, {len(read.metrics)} metrics"


OBSERVER = (Check("units", units, ()), Check("tables", tables, ()), Check("global state", general.state, ()))
SUITE = (general.SPEC, Check("suite", suite, ()))
