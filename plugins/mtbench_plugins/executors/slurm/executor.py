"""Units as Slurm jobs: only JSON files on a shared file system cross machines."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtbench.engine.executor import Session
from mtbench.engine.job import Job, Outcome
from mtbench.engine.unitfile import read_progress, write_job
from mtbench.errors import RequestError
from mtbench.stages import STAGES
from mtbench_plugins.executors import _files
from mtbench_plugins.executors.slurm import queue
from mtbench_plugins.executors.slurm.script import batch_script

GRACE = 30.0
"""Seconds for a file of another node to appear here after its job has left the queue."""


@dataclass
class Task:
    """A unit in the queue.

    Attributes:
        job: what it is.
        unit: its file.
        name: ``JOB_TASK``, as Slurm calls it.
        absent_since: when it was first missing from the queue.
    """

    job: Job
    unit: Path
    name: str
    absent_since: float | None = None


class Slurm:
    """Submits the units that are ready as two arrays, one with and one without GPUs."""

    slots = 100_000
    limits = True

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._ready: list[Job] = []
        self._tasks: list[Task] = []
        self._files = _files.UnitFiles("slurm")
        self._arrays = 0
        self._last_look = 0.0

    def problems(self, device: str) -> list[str]:
        """Why Slurm cannot be used: its commands are missing, its controller does not answer, or the request does not
        say whether to use GPUs.
        """
        problems = []
        try:
            queue.available()
        except RequestError as error:
            problems.append(str(error))
        if not device and not self._options["gres"]:
            # Training on CPUs takes days without an error, so nobody would notice.
            problems.append(
                "neither gres nor --device is set, so units could train on CPUs unnoticed. "
                "Set gres=gpu:1 or --device cuda for GPUs, or --device cpu"
            )
        return problems

    def start(self, session: Session) -> None:
        """Keep the session, which receives the progress."""
        self._session = session
        self._on_gpus = session.device != "cpu"

    def submit(self, job: Job) -> None:
        """Keep it until the next :meth:`wait`, so that units that are ready together form one array."""
        self._ready.append(job)

    def wait(self, seconds: float) -> list[Outcome]:
        """Submit the units that are ready, then wait for outcomes until there are some or the time is over."""
        for gpu in (True, False):
            batch = [job for job in self._ready if self._uses_gpu(job) == gpu]
            if batch:
                self._queue(batch, gpu)
        self._ready = []
        until = time.monotonic() + seconds
        while True:
            outcomes = self._collect()
            if outcomes or time.monotonic() >= until:
                return outcomes
            time.sleep(min(self._options["poll"], 1.0, max(0.05, until - time.monotonic())))

    def close(self) -> None:
        """Cancel queued and running jobs."""
        if self._tasks:
            queue.cancel(sorted({task.name.partition("_")[0] for task in self._tasks}))
        self._files.close()

    def _uses_gpu(self, job: Job) -> bool:
        return self._on_gpus and STAGES[job.unit.stage].uses_device

    def _queue(self, batch: list[Job], gpu: bool) -> None:
        folder = self._files.folder(batch[0]) / str(self._arrays)
        self._arrays += 1
        folder.mkdir()
        for number, job in enumerate(batch):
            # Slurm chooses the GPU; a task sees that one only.
            write_job(folder / f"{number}.json", replace(job, device="cuda:0" if gpu else "cpu"))
        text = batch_script(
            folder,
            len(batch),
            self._options,
            threads=max(job.unit.threads for job in batch),
            gpu=gpu,
        )
        (folder / "array.sh").write_text(text, encoding="utf-8")
        array = queue.submit(folder / "array.sh")
        self._tasks += [Task(job, folder / f"{n}.json", f"{array}_{n}") for n, job in enumerate(batch)]

    def _collect(self) -> list[Outcome]:
        outcomes = []
        for task in list(self._tasks):
            outcome = _files.take(task.job, task.unit)
            if outcome is not None:
                self._tasks.remove(task)
                outcomes.append(outcome)
        now = time.monotonic()
        if not outcomes and self._tasks and now - self._last_look >= self._options["poll"]:
            self._last_look = now
            outcomes = self._check_queue(now)
        return outcomes

    def _check_queue(self, now: float) -> list[Outcome]:
        """Outcomes of tasks that have left the queue and left none; progress of the others."""
        waiting = queue.waiting(sorted({task.name.partition("_")[0] for task in self._tasks}))
        if waiting is None:
            return []
        outcomes = []
        for task in list(self._tasks):
            if task.name in waiting:
                task.absent_since = None
                progress = read_progress(task.unit)
                if progress is not None:
                    self._session.report(task.job.key, *progress)
            elif task.absent_since is None:
                task.absent_since = now
            elif now - task.absent_since > GRACE:
                self._tasks.remove(task)
                status, reason = queue.ending(task.name)
                outcomes.append(_files.without_outcome(task.job, status, reason, self._log(task)))
        return outcomes

    def _log(self, task: Task) -> str:
        log = task.unit.with_suffix(".log")
        return log.read_text(errors="replace")[-10_000:] if log.exists() else ""
