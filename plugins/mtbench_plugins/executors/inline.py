"""The executor ``inline``: units one after the other, in the process itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import mtbench

if TYPE_CHECKING:
    from mtbench.discovery import Registry
    from mtbench.run.job import Job, Outcome


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``inline``."""
    yield mtbench.ExecutorSpec(
        "inline",
        "mtbench_plugins.executors.inline:Inline",
        description="one unit after the other, in this process; for debugging and small suites",
    )


class Inline:
    """Runs each job when it is submitted; see ``mtbench.run.executor.Executor``."""

    slots = 1

    def __init__(self) -> None:
        self._done: list[Outcome] = []

    def start(self, registry: Registry, report: Callable[[str, int, int, Mapping[str, Any]], None]) -> None:
        """Keep the registry and the progress callback."""
        self._registry = registry
        self._report = report

    def submit(self, job: Job) -> None:
        """Run ``job`` to its end."""
        from mtbench.run.worker import execute

        self._done.append(
            execute(job, self._registry, lambda done, total, figures: self._report(job.key, done, total, figures))
        )

    def wait(self) -> list[Outcome]:
        """What has been run since the last call."""
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to let go of."""
