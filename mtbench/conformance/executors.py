"""Checks of executors, on a small run from end to end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from mtbench.conformance import example, general
from mtbench.conformance.subject import Subject
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.registry.params import format_call

_SUITE: dict[str, Any] = {
    "suite": {"name": "conformance", "references": False, "threads": 1},
    "datasets": [{"name": "conformance-slices"}, {"name": "conformance-broken"}],
    "translators": [{"name": "conformance-half"}],
    "metrics": [{"name": "conformance-mean"}],
}


def declared(subject: Subject) -> str:
    """Limits, and reasons why it cannot run here."""
    executor = subject.create()
    if not isinstance(executor.limits, bool):
        raise FailedError(f"limits is {executor.limits!r}", "State whether it enforces limits of time and memory")
    problems = executor.problems("cpu")
    if not isinstance(problems, list) or not all(isinstance(each, str) for each in problems):
        raise FailedError(f"problems() gives {problems!r:.60}", "Return a list of sentences, empty if there are none")
    subject.kept["problems"] = problems
    return f"limits of time and memory: {executor.limits}" + (f"; {problems[0]}" if problems else "")


def run(subject: Subject) -> str:
    """A run of a few units, one of which fails: all others complete with the right values."""
    from mtbench.api import run as run_suite
    from mtbench.screen import Screen

    if problems := subject.kept["problems"]:
        raise UntriedError(f"it cannot run here: {problems[0]}")
    folder, plugin = subject.folder(), subject.of.plugin
    changed = {name: value for name, value in subject.params.items() if value != subject.spec.params[name].default}
    files = [example.__file__, *([str(plugin.path)] if plugin.path else [])]
    before = _children()
    # If units run in this process, their threads and seeds are set here.
    with subject.watched("the run", ("the current folder", "the file mode mask", "torch's default dtype")):
        result = run_suite(
            _SUITE,
            quiet=True,
            console=Screen(quiet=True),
            plugin_files=files,
            executor=format_call(subject.spec.name, changed),
            out=str(folder / "results"),
            store=str(folder / "store"),
            device="cpu",
        )
    rows = {row["dataset"]: row for row in result.scores.to_pylist()}
    good, bad = rows["conformance-slices"], rows["conformance-broken"]
    if good["status"] != "measured":
        raise FailedError(f"a unit that works is '{good['status']}': {good['note']}", "Run it, and return its Outcome")
    if abs(good["value"] - 50.0) > 1e-3:
        raise FailedError(f"the value is {good['value']:g} instead of 50", "Pass the job on unchanged")
    if bad["status"] == "measured" or "made to fail" not in (bad["note"] or ""):
        raise FailedError(
            f"a unit that fails is '{bad['status']}': {bad['note']}", "Return the Outcome that the worker has left"
        )
    _await_children(before)
    return f"{result.attempts.num_rows} units"


def _children() -> set[int]:
    """The running child processes of this process."""
    if not sys.platform.startswith("linux"):
        return set()
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


def _await_children(before: set[int]) -> None:
    until = time.monotonic() + 5
    while (left := _children() - before) and time.monotonic() < until:
        time.sleep(0.05)
    if left:
        raise FailedError(f"close() leaves {len(left)} processes running", "End all its processes in close()")


CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("declaration", declared),
    Check("run", run, ("object", "declaration"), beside=True),
    general.STATE,
)
