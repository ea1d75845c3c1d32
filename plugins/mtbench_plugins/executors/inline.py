"""The executor ``inline``: one unit after another, in the current process."""

from __future__ import annotations

from collections.abc import Iterator
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
        description="one unit after another in this process; for debugging",
    )


class Inline:
    """Runs each job when it is submitted; see ``mtbench.registry.contracts.Executor``."""

    slots = 1
    limits = False
    here = True

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    def problems(self, device: str) -> list[str]:
        """None."""
        return []

    def start(self, session: Session) -> None:
        """Keep the session, which runs the jobs."""
        self._session = session

    def submit(self, job: Job) -> None:
        """Run ``job`` to its end."""
        self._outcomes.append(self._session.execute(job))

    def wait(self, seconds: float) -> list[Outcome]:
        """The outcomes since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Nothing to release."""
