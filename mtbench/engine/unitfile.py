"""A job as a file that a worker process reads, and the outcome and progress that the worker writes beside it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from mtbench.engine.job import Job, Outcome
from mtbench.errors import RequestError
from mtbench.store.files import write_whole


def write_job(file: Path, job: Job) -> None:
    """Write a job atomically.

    Raises:
        StoreError: the file cannot be written.
    """
    _write(file, job.to_json())


def read_job(file: Path) -> Job:
    """The job in a file.

    Raises:
        RequestError: the file is not a job.
    """
    try:
        return Job.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise RequestError(
            f"this is not a unit file: {error}", where=str(file), expected="a unit file that a run wrote"
        ) from error


def outcome_file(file: Path) -> Path:
    """The path of the outcome of the job in ``file``."""
    return file.with_suffix(".outcome.json")


def write_outcome(file: Path, outcome: Outcome) -> None:
    """Write the outcome of the job in ``file`` beside it, atomically.

    Raises:
        StoreError: it cannot be written.
    """
    _write(outcome_file(file), outcome.to_json())


def read_outcome(file: Path) -> Outcome:
    """The outcome of the job in ``file``.

    Raises:
        OSError: there is none.
        ValueError: it cannot be read.
    """
    return Outcome.from_json(json.loads(outcome_file(file).read_text(encoding="utf-8")))


def progress_file(file: Path) -> Path:
    """The path of the progress of the job in ``file``: ``[done, total, figures]``."""
    return file.with_suffix(".progress.json")


def read_progress(file: Path) -> tuple[int, int, Mapping[str, object]] | None:
    """The progress of the job in ``file``: done, total, figures; ``None`` before the first report."""
    try:
        done, total, figures = json.loads(progress_file(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return done, total, figures


class ProgressFile:
    """Writes the last progress of the job in ``file``, at most twice a second."""

    def __init__(self, file: Path) -> None:
        self._path = progress_file(file)
        self._last = 0.0

    def __call__(self, key: str, done: int, total: int, figures: Mapping[str, object]) -> None:
        """Write the progress, unless the last write was less than half a second ago."""
        now = time.monotonic()
        if now - self._last < 0.5:
            return
        self._last = now
        with contextlib.suppress(OSError, TypeError):
            partial = self._path.with_suffix(".part")
            partial.write_text(json.dumps([done, total, dict(figures)], default=str), encoding="utf-8")
            partial.replace(self._path)


def _write(file: Path, record: Mapping[str, object]) -> None:
    text = json.dumps(record, sort_keys=True, default=str)
    write_whole(file, lambda stream: stream.write(text.encode()))
