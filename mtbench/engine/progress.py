"""Shows a run: live bars on a terminal, one line a unit elsewhere. Everything goes to standard error."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
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

from mtbench.stages.unit import Unit

_WORD = {"ok": "[green]done[/]", "skipped": "[yellow]skipped[/]"}


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 90 else f"{value / 60:.1f} min"


class LiveProgress:
    """A bar for the suite, and one for each unit at work with its figures and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
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

    def report(self, key: str, done: int, total: int, figures: Mapping[str, Any]) -> None:
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
            self._progress.console.print(f"  {_WORD['ok']} {unit.name} [dim]{_seconds(seconds)}[/]", highlight=False)
        elif status not in ("cached", "skipped"):
            self._progress.console.print(f"  [red]{status}[/] {unit.name}", highlight=False)
        if reason and status not in ("cached", "skipped"):
            self._progress.console.print(f"    {reason}", highlight=False, markup=False)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, style="yellow", highlight=False, markup=False)

    def end(self) -> None:
        """Take the bars away."""
        self._progress.stop()


class PlainProgress:
    """One line when a unit ends, and for each unit at work one every 20 seconds."""

    EVERY = 20.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0
        self._total = 0
        self._names: dict[str, str] = {}
        self._last: dict[str, float] = {}

    def begin(self, total: int) -> None:
        """Remember how many there are."""
        self._total = total

    def started(self, unit: Unit) -> None:
        """Remember its name."""
        self._names[unit.key] = unit.name
        self._last[unit.key] = time.monotonic()

    def report(self, key: str, done: int, total: int, figures: Mapping[str, Any]) -> None:
        """A line now and then."""
        now = time.monotonic()
        if now - self._last.get(key, now) >= self.EVERY:
            self._last[key] = now
            about = " ".join(f"{k} {_figure(v)}" for k, v in figures.items())
            self._line(f"  {self._names.get(key, '')}: {done}{f' of {total}' if total else ''} {about}")

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """A line for everything that was done or went wrong."""
        self._count += 1
        if status == "cached":
            return
        took = f" {_seconds(seconds)}" if status == "ok" else ""
        self._line(f"[{self._count}/{self._total}] {unit.name}: {'done' if status == 'ok' else status}{took}")
        if reason and status != "skipped":
            self._line(f"    {reason}")

    def note(self, text: str) -> None:
        """A line."""
        self._line(text)

    def end(self) -> None:
        """Nothing is left on the screen."""

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def make_progress(console: Console) -> LiveProgress | PlainProgress:
    """Bars for a terminal, lines for a file or a pipe."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
