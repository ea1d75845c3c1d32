"""The executor ``inline``: units one after the other, in the process itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import mtbench

if TYPE_CHECKING:
    from mtbench.engine.executor import Session
    from mtbench.engine.job import Job, Outcome


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``inline``."""
    yield mtbench.ExecutorSpec(
        "inline",
        "mtbench_plugins.executors.inline:Inline",
        description="one unit after the other, in this process; for debugging",
    )


class Inline:
    """Runs each job when it is submitted; see ``mtbench.engine.executor.Executor``."""

    slots = 1
    limits = False
    here = True

    def __init__(self) -> None:
        self._done: list[Outcome] = []

    def problems(self) -> list[str]:
        """None."""
        return []

    def start(self, session: Session) -> None:
        """Keep the registry and the progress callback."""
        self._session = session

    def submit(self, job: Job) -> None:
        """Run ``job`` to its end."""
        from mtbench.engine.worker import execute

        self._done.append(execute(job, self._session.registry, partial(self._session.report, job.key)))

    def wait(self, seconds: float) -> list[Outcome]:
        """What has been run since the last call."""
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to let go of."""
