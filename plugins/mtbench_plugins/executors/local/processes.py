"""Inspect and end processes, with all their descendants. Reads /proc; does less on systems without it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")

ProcessTable = dict[int, tuple[int, int, bool]]


def die_with_parent() -> None:
    """Have this process killed when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Have descendants whose parents have died become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_killed_first() -> None:
    """Have the system, when it runs out of memory, end this process before others."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def table() -> ProcessTable:
    """Parent, session and whether it is dead (a zombie), of every process, by process id."""
    processes = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    fields = Path("/proc", name, "stat").read_text(errors="replace").rpartition(")")[2].split()
                    processes[int(name)] = (int(fields[1]), int(fields[3]), fields[0] in "ZX")
    return processes


def family(head: int, processes: ProcessTable) -> set[int]:
    """The living processes: ``head``, its descendants, and all that share a session with one of them."""
    members = {head}
    while True:
        more = {
            pid
            for pid, (parent, session, _) in processes.items()
            if pid not in members and (parent in members or session in members)
        }
        if not more:
            return {pid for pid in members if pid in processes and not processes[pid][2]}
        members |= more


def resident_mb(pids: set[int]) -> float:
    """Resident memory of these processes together; shared pages count once per process."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE / 2**20


def proportional_mb(pids: set[int]) -> float:
    """As :func:`resident_mb`, with shared pages divided among the processes that share them; slower."""
    kilobytes = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes / 2**10


def kill_family(head: int) -> None:
    """Kill ``head`` and all its descendants, including those that start meanwhile."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            os.killpg(head, signal.SIGKILL)
        alive = family(head, table())
        if not alive:
            return
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def killed_for_memory() -> int:
    """How often the system has killed a process because memory ran out, as far as /proc shows."""
    count = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                if line.startswith("oom_kill "):
                    count += int(line.split()[1])
    return count
