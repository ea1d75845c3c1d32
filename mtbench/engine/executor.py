"""What an executor is: something that takes jobs and gives back outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mtbench.engine.job import Job, Outcome
from mtbench.registry.discovery import Registry


@dataclass(frozen=True)
class Session:
    """What an executor is told of a run.

    Attributes:
        registry: the plugins of the process itself.
        report: ``report(key, done, total, figures)`` shows the progress of a running unit.
        threads: CPU threads that a unit may use.
        device: what the user asked for; empty for the best there is.
    """

    registry: Registry
    report: Callable[[str, int, int, Mapping[str, Any]], None]
    threads: int = 1
    device: str = ""


class Executor(Protocol):
    """An executor plugin's object.

    The scheduler calls ``start`` once, ``submit`` for jobs whose inputs are there (one, and further ones while fewer
    than ``slots`` are at work), ``wait`` for what has ended, and ``close`` at the end, whatever happened. What is
    costly to start is best started by the first ``submit``: where everything is cached there is none.

    A worker process runs a job with ``mtbench worker UNIT.json``, or :func:`mtbench.engine.worker.execute_file`.
    """

    slots: int
    limits: bool
    """Whether it keeps the time and memory limits of jobs."""
    here: bool
    """Whether all units run on this machine: then a GPU that was asked for must be on it. Left out: no."""

    def problems(self) -> list[str]:
        """What stands in the way of running anything here, a sentence each; asked before any work starts."""

    def start(self, session: Session) -> None:
        """Get ready."""

    def submit(self, job: Job) -> None:
        """Take a job; return at once or after running it."""

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of what has ended, as soon as there are any; none if nothing ends for ``seconds``."""

    def close(self) -> None:
        """Stop whatever still runs and let go of everything."""
