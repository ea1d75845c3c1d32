"""Slurm through its own commands: submit, query, cancel."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

from mtbench.errors import RequestError

PATIENCE = 60.0
"""Seconds a command may take; a busy controller is slow to answer."""

ENDINGS = {
    "TIMEOUT": ("timeout", "Slurm stopped it at its time limit; raise `time` or `retries`"),
    "DEADLINE": ("timeout", "Slurm stopped it at a deadline"),
    "OUT_OF_MEMORY": ("oom", "it exceeded its memory limit and Slurm stopped it; raise `memory`"),
    "NODE_FAIL": ("lost", "its node was lost"),
    "PREEMPTED": ("lost", "it was preempted and not requeued"),
    "CANCELLED": ("lost", "it was cancelled"),
    "BOOT_FAIL": ("lost", "its node did not start"),
}
"""Slurm's final states, with status and reason."""


def available() -> None:
    """Check that Slurm answers.

    Raises:
        RequestError: its commands are missing, or its controller does not answer.
    """
    if shutil.which("sbatch") is None:
        raise RequestError(
            "`sbatch` is not installed on this machine",
            where="executor 'slurm'",
            expected="a login node of a Slurm cluster",
            remedy="Use --executor local on this machine",
        )
    _slurm("sinfo", "--noheader", "--format=%P")


def submit(script: Path) -> str:
    """Submit a batch script; returns its job id."""
    return _slurm("sbatch", "--parsable", str(script)).partition(";")[0].strip()


def waiting(jobs: list[str]) -> set[str] | None:
    """The array tasks, ``JOB_TASK``, that are queued or running; ``None`` if Slurm does not answer."""
    try:
        output = _slurm("squeue", "--noheader", "--array", "--format=%F_%K", f"--jobs={','.join(jobs)}")
    except RequestError as error:
        # squeue reports an error if it no longer knows any of the jobs.
        return set() if "Invalid job id" in str(error) else None
    return set(output.split())


def ending(task: str) -> tuple[str, str]:
    """How an array task without an outcome ended: its status, and the reason in words."""
    with contextlib.suppress(RequestError):
        match = re.search(r"JobState=(\w+)", _slurm("scontrol", "show", "job", task))
        if match and match[1] in ENDINGS:
            return ENDINGS[match[1]]
        if match:
            return "lost", f"its process ended without an outcome (Slurm says {match[1]})"
    return "lost", "it has left the queue without an outcome"


def cancel(jobs: list[str]) -> None:
    """Cancel jobs."""
    with contextlib.suppress(RequestError):
        _slurm("scancel", *jobs)


def _slurm(*command: str) -> str:
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RequestError(f"`{command[0]}` does not answer: {error}", where="executor 'slurm'") from error
    if process.returncode:
        raise RequestError(
            f"`{command[0]}` failed: {process.stderr.strip() or process.stdout.strip()}",
            where="executor 'slurm'",
            remedy="Correct [executors.slurm] in your mtbench.toml" if command[0] == "sbatch" else None,
        )
    return process.stdout
