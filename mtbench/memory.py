"""How much memory is free, asked before work that needs much of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mtbench.errors import DataError

_GROUPS = Path("/sys/fs/cgroup")
_LITTLE = 1 << 26
"""Bytes that are not worth a question."""


@dataclass(frozen=True)
class Memory:
    """Of the machine, or of the control group of this process (a container, a Slurm job) if that has less.

    Attributes:
        total, free: bytes; what the system's file cache would give up counts as free.
    """

    total: int
    free: int


def memory() -> Memory | None:
    """The memory of this process's machine; ``None`` on systems without ``/proc/meminfo``."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        machine = Memory(*(int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")))
    except (OSError, KeyError, ValueError):
        return None
    limits = [machine, *_group_limits()]
    return Memory(min(limit.total for limit in limits), min(limit.free for limit in limits))


def require_memory(needed: int, where: str, *, remedy: str) -> None:
    """Refuse work for which memory does not suffice, before it starts.

    Args:
        needed: bytes, at the peak of the work.
        where: the file, or the metric.
        remedy: what the user can do.

    Raises:
        DataError: less is free; the text says how much.
    """
    if needed < _LITTLE:
        return
    machine = memory()
    if machine is not None and needed > machine.free:
        raise DataError(
            f"this needs about {_amount(needed)} of memory, and {_amount(machine.free)} is free",
            where=where,
            remedy=remedy,
        )


def _group_limits() -> Iterator[Memory]:
    """Of the control groups (version 2) that this process is in, innermost first; those without a limit have none."""
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    group = _GROUPS / line.removeprefix("0::").lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(_GROUPS):
            return
        with suppress(OSError, ValueError, KeyError):
            total = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield Memory(total, max(total - used + int(cache["inactive_file"]), 0))


def _amount(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):,.0f} MiB"
