"""Unit files in the store, the one folder that every machine of a run can read: jobs and outcomes cross machines as
files.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from mtbench.engine.job import Job, Outcome
from mtbench.engine.unitfile import read_outcome


class UnitFiles:
    """The unit files of one run.

    Args:
        executor: its name, which names the folder.
    """

    def __init__(self, executor: str) -> None:
        self._executor = executor
        self._folder: Path | None = None

    def folder(self, job: Job) -> Path:
        """The run's folder in the store of ``job``; created by the first call."""
        if self._folder is None:
            parent = Path(job.store) / "queue"
            parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self._executor}-", dir=parent))
        return self._folder

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def take(job: Job, unit: Path) -> Outcome | None:
    """The outcome that a worker has left for the job in the file ``unit``, or ``None``."""
    try:
        return read_outcome(unit)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        return without_outcome(job, "lost", f"its outcome cannot be read: {error}")


def without_outcome(job: Job, status: str, reason: str, log: str = "") -> Outcome:
    """The outcome of a job whose worker left no outcome."""
    return Outcome(job.key, status, reason=f"{reason}.", error_type=status, log=log)
