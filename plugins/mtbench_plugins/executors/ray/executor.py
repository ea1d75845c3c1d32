"""Units as Ray tasks. Ray receives only the path of a unit file; each unit runs in its own process."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mtbench.engine.executor import Session
from mtbench.engine.job import Job, Outcome
from mtbench.engine.unitfile import read_progress, write_job
from mtbench.errors import RequestError
from mtbench.stages import STAGES
from mtbench_plugins.executors import _files
from mtbench_plugins.executors.ray.task import work

LOOK_INTERVAL = 2.0
"""Seconds between checks of the units' progress."""


@dataclass
class Task:
    """A unit that was handed to Ray: its job and its file."""

    job: Job
    unit: Path


class Ray:
    """Hands every unit to Ray as soon as it is ready; Ray queues them and restarts those of a lost node.

    Args:
        address: of a cluster; empty starts one on this machine.
        num_gpus: per unit that uses one; a fraction shares a
        GPU.
        retries: after the loss of a node.
    """

    slots = 100_000
    limits = True

    def __init__(self, address: str, num_gpus: float, retries: int) -> None:
        self._address = address
        self._num_gpus = num_gpus
        self._retries = retries
        self._files = _files.UnitFiles("ray")
        self._tasks: dict[Any, Task] = {}
        self._count = 0
        self._last_look = 0.0

    def problems(self, device: str) -> list[str]:
        """Reasons why Ray cannot be used; the cluster itself is only reached when the run starts."""
        problems = [] if find_spec("ray") else ["Ray is not installed. Install it with: pip install 'ray>=2.9'"]
        if device.startswith("cuda") and not self._num_gpus:
            problems.append(f"--device {device} and num_gpus=0 contradict each other. Remove one of them")
        return problems

    def start(self, session: Session) -> None:
        """Reach the cluster, or start one.

        Raises:
            RequestError: the cluster cannot be reached, or has no GPU although the run needs one.
        """
        import ray

        self._ray = ray
        self._session = session
        self._folder = os.getcwd()
        self._own = not ray.is_initialized()
        try:
            if self._own:
                # Ray's own processes import first from the folder in which Ray is initialised.
                with contextlib.chdir("/"):
                    ray.init(
                        address=self._address or None,
                        include_dashboard=None if self._address else False,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                    )
        except Exception as error:
            raise RequestError(
                f"the cluster cannot be reached: {error}",
                where="executor 'ray'",
                expected=f"a Ray cluster at {self._address or 'this machine'}",
            ) from error
        gpus = ray.cluster_resources().get("GPU", 0)
        if session.device.startswith("cuda") and not gpus:
            # Ray would wait for one indefinitely.
            raise RequestError(
                f"--device {session.device}: the cluster has no GPU",
                where="executor 'ray'",
                remedy="Add a node with a GPU, or set --device cpu",
            )
        self._on_gpus = bool(gpus and self._num_gpus) and session.device != "cpu"
        self._work = ray.remote(work)

    def submit(self, job: Job) -> None:
        """Hand the job to Ray."""
        unit = self._files.folder(job) / f"{self._count}.json"
        self._count += 1
        gpu = self._on_gpus and STAGES[job.unit.stage].uses_device
        # Ray chooses the GPU; a task sees that one only.
        write_job(unit, replace(job, device="cuda:0" if gpu else "cpu"))
        num_gpus = self._num_gpus if gpu else 0
        task = self._work.options(
            num_cpus=job.unit.threads, num_gpus=num_gpus, max_retries=self._retries, name=job.unit.name
        )
        self._tasks[task.remote(str(unit), job.timeout, self._folder)] = Task(job, unit)

    def wait(self, seconds: float) -> list[Outcome]:
        """The outcomes of units that have ended."""
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        if not ready and time.monotonic() - self._last_look >= LOOK_INTERVAL:
            self._last_look = time.monotonic()
            for task in self._tasks.values():
                progress = read_progress(task.unit)
                if progress is not None:
                    self._session.report(task.job.key, *progress)
        return [self._outcome(reference) for reference in ready]

    def close(self) -> None:
        """Cancel running units; shut down a cluster that was started here."""
        with contextlib.suppress(Exception):
            for reference in self._tasks:
                self._ray.cancel(reference, force=True)
            if self._own:
                self._ray.shutdown()
        self._files.close()

    def _outcome(self, reference: Any) -> Outcome:
        task = self._tasks.pop(reference)
        try:
            how, output = self._ray.get(reference)
        except self._ray.exceptions.OutOfMemoryError as error:
            return _files.without_outcome(task.job, "oom", f"Ray stopped it because memory ran out: {_first(error)}")
        except Exception as error:
            return _files.without_outcome(task.job, "lost", f"Ray lost it: {_first(error)}")
        outcome = _files.take(task.job, task.unit)
        if outcome is not None:
            return outcome
        if how == "timeout":
            return _files.without_outcome(task.job, "timeout", f"It was stopped after {task.job.timeout:g} s", output)
        return _files.without_outcome(task.job, "lost", "Its process ended without an outcome", output)


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
