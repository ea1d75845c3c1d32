"""What an executor knows of a run. Its contract is :class:`mtbench.registry.contracts.Executor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mtbench.engine.job import Job, Outcome


@dataclass(frozen=True)
class Session:
    """What an executor knows of a run.

    Attributes:
        execute: runs a job to its end in this process.
        report: ``report(key, done, total, figures)`` shows the progress of a running unit.
        threads: CPU threads that a unit may use.
        device: the requested device; empty for the best available one.
    """

    execute: Callable[[Job], Outcome]
    report: Callable[[str, int, int, Mapping[str, object]], None]
    threads: int = 1
    device: str = ""
