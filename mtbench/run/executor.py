"""What an executor is: something that takes jobs and gives back outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mtbench.discovery import Registry
from mtbench.run.job import Job, Outcome


class Executor(Protocol):
    """An executor plugin's object.

    The scheduler calls ``start`` once, ``submit`` for jobs whose inputs are there (never more than ``slots``
    at a time), ``wait`` for what has ended, and ``close`` at the end, whatever happened.
    """

    slots: int

    def start(self, registry: Registry, report: Callable[[str, int, int, Mapping[str, Any]], None]) -> None:
        """Get ready. ``report(key, done, total, figures)`` shows progress of a running unit."""

    def submit(self, job: Job) -> None:
        """Take a job; return at once or after running it."""

    def wait(self) -> list[Outcome]:
        """Outcomes of at least one submitted job."""

    def close(self) -> None:
        """Stop whatever still runs and let go of everything."""
