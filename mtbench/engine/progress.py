"""Shows a run on standard error: live bars on a terminal, otherwise one line per unit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mtbench.engine.amounts import duration
from mtbench.stages.unit import Unit

_WORD = {"ok": "[green]computed[/]", "skipped": "[yellow]skipped[/]"}


class LiveProgress:
    """A bar for the suite, and one for each running unit with its values and remaining time."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._suite: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}

    def begin(self, total: int) -> None:
        """Show the suite's bar."""
        self._progress.start()
        self._suite = self._progress.add_task("units", total=total, figures="")

    def started(self, unit: Unit) -> None:
        """Show a bar for the unit."""
        self._tasks[unit.key] = self._progress.add_task(unit.name, total=None, figures="")

    def report(self, key: str, done: int, total: int, figures: Mapping[str, object]) -> None:
        """Advance the unit's bar."""
        if key in self._tasks:
            self._progress.update(
                self._tasks[key],
                completed=done,
                total=total or None,
                figures="  ".join(f"{k} {_figure(v)}" for k, v in figures.items()),
            )

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """Remove the unit's bar; print a line if it was computed or failed."""
        if unit.key in self._tasks:
            self._progress.remove_task(self._tasks.pop(unit.key))
        if self._suite is not None:
            self._progress.advance(self._suite)
        if status == "ok":
            text = f"  {_WORD['ok']} {escape(unit.name)} [dim]{duration(seconds)}[/]"
            self._progress.console.print(text, highlight=False)
        elif status not in ("cached", "skipped"):
            self._progress.console.print(f"  [red]{escape(status)}[/] {escape(unit.name)}", highlight=False)
        if reason and status not in ("cached", "skipped"):
            self._progress.console.print(f"    {reason}", highlight=False, markup=False)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(text, style="yellow", highlight=False, markup=False)

    def end(self) -> None:
        """Remove the bars."""
        self._progress.stop()


@dataclass
class PlainProgress:
    """One line when a unit ends, and one every 20 seconds for each running unit."""

    EVERY: ClassVar = 20.0

    console: Console
    _ended: set[str] = field(default_factory=set)  # A unit whose artefact was damaged ends twice.
    _total: int = 0
    _names: dict[str, str] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def begin(self, total: int) -> None:
        """Store the number of units."""
        self._total = total

    def started(self, unit: Unit) -> None:
        """Store the unit's name."""
        self._names[unit.key] = unit.name
        self._last[unit.key] = time.monotonic()

    def report(self, key: str, done: int, total: int, figures: Mapping[str, object]) -> None:
        """Print a line every 20 seconds."""
        now = time.monotonic()
        if now - self._last.get(key, now) >= self.EVERY:
            self._last[key] = now
            about = " ".join(f"{k} {_figure(v)}" for k, v in figures.items())
            self.note(f"  {self._names.get(key, '')}: {done}{f' of {total}' if total else ''} {about}")

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """Print a line if the unit was computed or failed."""
        self._ended.add(unit.key)
        if status == "cached":
            return
        took = f" {duration(seconds)}" if status == "ok" else ""
        self.note(f"[{len(self._ended)}/{self._total}] {unit.name}: {'computed' if status == 'ok' else status}{took}")
        if reason and status != "skipped":
            self.note(f"    {reason}")

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Do nothing."""


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def make_progress(console: Console) -> LiveProgress | PlainProgress:
    """Bars on a terminal, lines in a file or a pipe."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


@contextmanager
def activity_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal during the block; it yields a function to call with activity, done and total."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(activity: str, done: int, total: int) -> None:
            if activity and activity not in tasks:
                tasks[activity] = progress.add_task(escape(activity), total=total)
            if activity:
                progress.update(tasks[activity], completed=done, total=total)

        yield report
