"""Runs a suite, for the command line and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtbench.engine.observers import Observers
from mtbench.engine.preflight import preflight
from mtbench.engine.progress import PlainProgress, make_progress
from mtbench.engine.request import RunRequest
from mtbench.engine.scheduler import Scheduler, Summary
from mtbench.errors import RequestError
from mtbench.plan import Plan
from mtbench.results.bibliography import PAPER
from mtbench.results.bibliography import write as write_references
from mtbench.results.directory import Results
from mtbench.results.usage import remember
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from mtbench.analysis.model import ResultsTable
    from mtbench.registry.registry import Registry


@dataclass(frozen=True)
class RunResult:
    """The result of a run. ``print`` and notebooks show its table.

    Attributes:
        plan: the plan.
        results: the results directory.
        summary: the units by status, and the failures with their reasons.
        scores: one row for each score; see ``docs/tables.md``.
        attempts: every attempt at a unit, failures included.
        cases: the values by slice or patient.
    """

    plan: Plan
    results: Results
    summary: Summary
    scores: pa.Table = field(repr=False)
    attempts: pa.Table = field(repr=False)
    cases: pa.Table = field(repr=False)

    @property
    def path(self) -> Path:
        """The path of the results directory."""
        return self.results.path

    @cached_property
    def table(self) -> ResultsTable:
        """The scores as the table of a paper."""
        from mtbench.analysis.table import build_table
        from mtbench.results.blind import blinded, blinding

        return build_table(blinded(self.scores, blinding(self.results.entries())))

    def show(self, console: Console) -> None:
        """Print the table."""
        from mtbench.analysis.terminal import render

        if self.scores.num_rows:
            render(self.table, console)

    def __str__(self) -> str:
        from mtbench.screen import Screen

        text = StringIO()
        self.show(Screen(file=text, width=120))
        return text.getvalue().rstrip()

    def _repr_html_(self) -> str:
        return self.table._repr_html_() if self.scores.num_rows else "<p>No scores to show.</p>"


def citations(plan: Plan, registry: Registry) -> list[str]:
    """The citations of a plan's plugins, and the paper whose protocol it follows."""
    used = dict.fromkeys((unit.kind, unit.plugin) for unit in plan.units.values() if unit.plugin)
    return [PAPER, *(registry.get(kind, name).spec.citation for kind, name in used)]


def run(
    suite: str | Path | Mapping[str, Any], *, quiet: bool = False, console: Console | None = None, **options: object
) -> RunResult:
    """Run a suite.

    Args:
        suite: a file, a registered name ("quickstart"), or a dictionary with the tables of a suite file.
        quiet: show failures only.
        console: output of the progress; standard error by default.
        options: the attributes of :class:`mtbench.engine.request.RunRequest`: ``translators=["cyclegan:epochs=5"]``,
            ``device="cuda"``, ``out="folder"`` and so on.

    Raises:
        RequestError: the request is not valid. Failed units raise no error: see ``RunResult.summary``.
        KeyboardInterrupt: the user interrupted; finished units are in the results.
    """
    from mtbench.screen import Screen

    console = console or Screen(stderr=True)
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    warn = partial(say, style="yellow")
    request = RunRequest.of(suite, options)
    registry = request.registry(careful=True)
    for plugin in registry.plugins:
        # A plugin file that the user names must work.
        if plugin.path is not None and plugin.problem:
            raise RequestError(
                plugin.problem, where=f"plugin file {plugin.path}", remedy=plugin.remedy[:1].upper() + plugin.remedy[1:]
            )
    plan = request.plan(registry, say)
    executor = request.make_executor(registry)
    again = request.units_again(plan)
    store = Store(store_folder(request.store))
    if remark := preflight(plan, registry, store, executor, request.device):
        warn(remark)
    results = Results.create(Path(request.out or Path("mtbench-results") / plan.suite.name), plan.suite.name)
    observers = Observers(registry, results.path, warn)
    watcher = PlainProgress(Screen(quiet=True)) if quiet else make_progress(console)
    remember(store, results.path)
    write_references(results.path, citations(plan, registry))
    with results.writing():
        try:
            summary = Scheduler(plan, registry, store, results, executor, request, again, watcher, observers).run()
        finally:
            tables = results.rebuild()
    if summary.interrupted:
        raise KeyboardInterrupt
    observers.tell("mtbench_suite_finished", tables=tables)
    return RunResult(plan, results, summary, **tables)
