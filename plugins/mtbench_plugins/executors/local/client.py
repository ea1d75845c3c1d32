"""The run's side of the executor ``local``: hands units to the fork server and reads their outcomes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtbench import childprocess
from mtbench.compute.devices import gpu_names
from mtbench.engine.job import Job, Outcome
from mtbench.engine.unitfile import read_outcome, read_progress, write_job
from mtbench.errors import DiskFullError, MtbenchError
from mtbench.stages import STAGES
from mtbench.store.files import telling, temporary_prefix

if TYPE_CHECKING:
    from mtbench.engine.executor import Session


@dataclass
class Running:
    """A running unit: its job, its file, its GPU slot if it has one, and the last progress seen."""

    job: Job
    file: Path
    slot: int | None
    progress: tuple[int, int, Mapping[str, Any]] | None = None


class Local:
    """Each unit in its own process; see ``mtbench.registry.contracts.Executor``.

    Args:
        jobs: parallel units, on machines with GPUs only those that use one; 0 for one per GPU or, without GPUs, as
        ``cpu_jobs``.
        cpu_jobs: parallel units that use no GPU, beside those that do; 0 for as many as the cores allow at the suite's
        threads.
        start: "fork" or "spawn".
    """

    limits = True
    here = True

    def __init__(self, jobs: int, start: str, cpu_jobs: int = 0) -> None:
        self._jobs = jobs
        self._cpu_jobs = cpu_jobs
        self._spawn = start == "spawn"
        self._server: subprocess.Popen[bytes] | None = None
        self._running: dict[str, Running] = {}
        self._gpus: list[str] = []
        self._count = 0
        self._unread = b""

    def problems(self, device: str) -> list[str]:
        """None."""
        return []

    def start(self, session: Session) -> None:
        """Keep the session; the server starts with the first unit."""
        self._session = session

    @property
    def slots(self) -> int:
        """The number of parallel units; with GPUs, of those that use none."""
        self._ensure()
        jobs = self._cpu_jobs if self._gpus else self._jobs or self._cpu_jobs
        return jobs or max(1, len(_cores()) // self._session.threads)

    @property
    def gpu_slots(self) -> int:
        """The number of parallel units that use a GPU."""
        self._ensure()
        return self._jobs or len(self._gpus) if self._gpus else 0

    def submit(self, job: Job) -> None:
        """Tell the server to start it."""
        self._ensure()
        slot = self._free_slot() if self._gpus and STAGES[job.unit.stage].uses_device else None
        self._count += 1
        folder = self._folder / str(self._count)
        scratch = folder / "scratch"
        with telling(folder):
            scratch.mkdir(parents=True)
        env = {}
        if self._gpus:
            # Also hidden from units that use none: a library that looks for a GPU must not use one that runs a fit.
            env["CUDA_VISIBLE_DEVICES"] = "" if slot is None else self._gpus[slot % len(self._gpus)]
            job = replace(job, device="cpu" if slot is None else "cuda:0")
        file = folder / "unit.json"
        write_job(file, job)
        request = {
            "unit": str(file),
            "scratch": str(scratch),
            "env": env,
            "timeout": job.timeout,
            "memory_mb": job.memory_mb,
            "spawn": self._spawn,
        }
        self._running[str(file)] = Running(job, file, slot)
        with contextlib.suppress(OSError):  # a server that has died is noticed by wait()
            self._control.sendall(json.dumps(request).encode() + b"\n")

    def wait(self, seconds: float) -> list[Outcome]:
        """The outcomes of units that have ended; shows progress meanwhile."""
        until = time.monotonic() + seconds
        while True:
            rest = until - time.monotonic()
            if select.select([self._control], [], [], max(0.0, min(0.25, rest)))[0]:
                messages = self._receive()
                if messages is None:
                    return self._server_died()
                if messages:
                    return [self._ending(message) for message in messages]
            self._tell()
            if rest <= 0:
                return []

    def close(self) -> None:
        """End the server, and with it every running unit."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self._control.close()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._running = {}

    # -- the server

    def _ensure(self) -> None:
        if self._server is not None:
            return
        with telling(Path(tempfile.gettempdir())):
            self._folder = Path(tempfile.mkdtemp(prefix=temporary_prefix()))
        self._control, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                childprocess.command("-m", f"{__package__}.server", str(theirs.fileno()), str(self._folder)),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=childprocess.environment(),
            )
        messages: list[dict[str, Any]] | None = []
        while messages == []:
            messages = self._receive()
        if messages is None:
            self.close()
            raise MtbenchError(
                "the process that starts the units could not be started",
                where="executor 'local'",
                remedy="See the lines above, or try --executor inline",
            )
        self._gpus = self._usable(messages[0]["gpus"])

    def _usable(self, count: int) -> list[str]:
        """The GPUs to give to units; see :func:`mtbench.compute.devices.gpu_names`."""
        device = self._session.device or ("cuda" if count else "cpu")
        return gpu_names(device, count, os.environ.get("CUDA_VISIBLE_DEVICES"))

    def _receive(self) -> list[dict[str, Any]] | None:
        """Whole messages; ``None`` if the server has ended."""
        try:
            data = self._control.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _server_died(self) -> list[Outcome]:
        outcomes = [
            _without(running.job, "lost", "The process that starts the units died.", {})
            for running in self._running.values()
        ]
        self.close()
        return outcomes

    # -- units

    def _free_slot(self) -> int:
        taken = {running.slot for running in self._running.values()}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _tell(self) -> None:
        for running in self._running.values():
            progress = read_progress(running.file)
            if progress is not None and progress != running.progress:
                running.progress = progress
                self._session.report(running.job.key, *progress)

    def _ending(self, message: dict[str, Any]) -> Outcome:
        running = self._running.pop(message["unit"])
        job = running.job
        try:
            outcome = read_outcome(running.file)
        except (OSError, ValueError):
            outcome = _without(job, *_reason(job, message), message)
            if _is_full(self._folder):
                # It could not write its outcome.
                what = f"{self._folder}: the disk with the temporary files (TMPDIR) is full"
                outcome = replace(outcome, status="error", reason=what, error_type=DiskFullError.__name__)
        shutil.rmtree(running.file.parent, ignore_errors=True)
        if message["output"]:
            outcome = replace(outcome, log="\n".join(filter(None, (outcome.log, "It printed:", message["output"]))))
        return outcome


def _reason(job: Job, message: dict[str, Any]) -> tuple[str, str]:
    """Status and reason for a process that left no outcome."""
    code = message["code"]
    match message["ended"]:
        case "timeout":
            return "timeout", f"It exceeded the limit of --timeout ({job.timeout:g} s)."
        case "memory":
            return (
                "oom",
                f"Its processes took {message['memory_mb']:.0f} MB; the limit of --memory is {job.memory_mb:.0f} MB.",
            )
        case "system-memory":
            return "oom", f"The machine ran out of memory and killed it; it used {message['memory_mb']:.0f} MB."
        case "signal":
            try:
                name = signal.Signals(code).name
            except ValueError:
                name = f"signal {code}"
            return "lost", f"Its process was killed by {name}."
    return "lost", f"Its process ended (exit code {code}) before the unit was finished."


def _without(job: Job, status: str, reason: str, message: dict[str, Any]) -> Outcome:
    memory = message.get("memory_mb")  # of the machine: GPU memory is released with the process
    return Outcome(
        job.key,
        status,
        reason=reason,
        error_type=status,
        seconds=message.get("seconds", 0.0),
        peak_memory_mb=None if job.device.startswith("cuda") else memory,
        host_memory_mb=memory,
        device=job.device,
    )


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 2**16
    except OSError:
        return False


def _cores() -> set[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
