"""Shows a run: live bars on a terminal, one line a unit elsewhere. Everything goes to standard error."""

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

_WORD = {"ok": "[green]done[/]", "skipped": "[yellow]skipped[/]"}


class LiveProgress:
    """A bar for the suite, and one for each unit at work with its figures and time left."""

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
        """Move the unit's bar."""
        if key in self._tasks:
            self._progress.update(
                self._tasks[key],
                completed=done,
                total=total or None,
                figures="  ".join(f"{k} {_figure(v)}" for k, v in figures.items()),
            )

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """Take the unit's bar away; leave a line for what was done or went wrong."""
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
        """A line above the bars."""
        self._progress.console.print(text, style="yellow", highlight=False, markup=False)

    def end(self) -> None:
        """Take the bars away."""
        self._progress.stop()


@dataclass
class PlainProgress:
    """One line when a unit ends, and for each unit at work one every 20 seconds."""

    EVERY: ClassVar = 20.0

    console: Console
    _ended: set[str] = field(default_factory=set)  # A unit whose artefact was damaged ends twice.
    _total: int = 0
    _names: dict[str, str] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def begin(self, total: int) -> None:
        """Remember how many there are."""
        self._total = total

    def started(self, unit: Unit) -> None:
        """Remember its name."""
        self._names[unit.key] = unit.name
        self._last[unit.key] = time.monotonic()

    def report(self, key: str, done: int, total: int, figures: Mapping[str, object]) -> None:
        """A line now and then."""
        now = time.monotonic()
        if now - self._last.get(key, now) >= self.EVERY:
            self._last[key] = now
            about = " ".join(f"{k} {_figure(v)}" for k, v in figures.items())
            self.note(f"  {self._names.get(key, '')}: {done}{f' of {total}' if total else ''} {about}")

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """A line for everything that was done or went wrong."""
        self._ended.add(unit.key)
        if status == "cached":
            return
        took = f" {duration(seconds)}" if status == "ok" else ""
        self.note(f"[{len(self._ended)}/{self._total}] {unit.name}: {'done' if status == 'ok' else status}{took}")
        if reason and status != "skipped":
            self.note(f"    {reason}")

    def note(self, text: str) -> None:
        """A line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Nothing is left on the screen."""


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def make_progress(console: Console) -> LiveProgress | PlainProgress:
    """Bars for a terminal, lines for a file or a pipe."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


@contextmanager
def activity_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal for what goes on within the block; call what it gives with activity, done and total."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(activity: str, done: int, total: int) -> None:
            if activity and activity not in tasks:
                tasks[activity] = progress.add_task(escape(activity), total=total)
            if activity:
                progress.update(tasks[activity], completed=done, total=total)

        yield report
