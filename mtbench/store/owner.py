"""Names of processes as owners of files; any process on the same machine can check whether the owner is alive."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from functools import cache
from pathlib import Path

_PROC = "/proc"
_PID = re.compile("[1-9][0-9]{0,8}")


def owner() -> str:
    """This process: machine, boot, process namespace, process id and start time, joined by dots."""
    pid = os.getpid()
    return ".".join((*_place(), str(pid), _start_time(pid)))


def is_gone(name: str) -> bool:
    """Whether the process of that name has certainly ended; False for a process that this machine cannot see."""
    parts = name.split(".")
    if len(parts) != 5:
        return False
    machine, boot, space, pid, start = parts
    here = _place()
    if machine != here[0]:
        return False
    if boot != here[1]:
        return True
    if space != here[2] or not _PID.fullmatch(pid):
        return False
    seen = _start_time(int(pid))
    # "0": a process with that number exists, but it may be another one. The heartbeat decides.
    return not seen or (seen != start and "0" not in (seen, start))


@cache
def _place() -> tuple[str, str, str]:
    machine = hashlib.sha256(f"{socket.gethostname()} {_read('/etc/machine-id')}".encode()).hexdigest()[:10]
    boot = _read(f"{_PROC}/sys/kernel/random/boot_id").replace("-", "")[:8] or "0"
    try:
        space = str(os.stat(f"{_PROC}/self/ns/pid").st_ino)
    except OSError:
        space = "0"
    return machine, boot, space


def _start_time(pid: int) -> str:
    """The start time of the process in ticks since boot; "" if it does not exist, "0" if only its existence is known.

    If processes of other users are hidden (``hidepid``, on shared login nodes), /proc shows them like ended processes;
    the kernel still reports their existence.
    """
    text = _read(f"{_PROC}/{pid}/stat")
    if text:
        # The command's name, in brackets, may contain anything; after it come state, parent, ...; start time is 22nd.
        fields = text.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "0"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
