"""Kills processes of a run at chosen calls. Python imports this file by itself where the folder is on PYTHONPATH.

``FAULT`` names a folder with ``order.json``: a point ("rename before", "rename after", the same of replace and fsync,
"step"), which of its calls in the whole run, and whom to kill: "run", "self" (the process that calls), or "all" (both
and the server between them, as a power cut does).
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

FOLDER = os.environ.get("FAULT", "")
if FOLDER:
    os.environ.setdefault("FAULT_RUN", str(os.getpid()))


def hit(point: str, about: object = "") -> None:
    """Die here, if this is the call that was ordered."""
    folder = Path(FOLDER)
    try:
        order = json.loads((folder / "order.json").read_text())
    except OSError:
        return
    if order["point"] != point:
        return
    handle = os.open(folder / "count", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(handle, b".")
    count = os.fstat(handle).st_size
    os.close(handle)
    if count != order["nth"]:
        return
    with (folder / "killed.log").open("a") as file:
        file.write(json.dumps({**order, "about": str(about)}) + "\n")
    os.unlink(folder / "order.json")
    run, own = int(os.environ["FAULT_RUN"]), os.getpid()
    victims = {"run": [run], "self": [own], "all": [run, os.getppid(), own]}[order["whom"]]
    if own == run:
        victims = [run]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)


def _wrap(name: str) -> None:
    real = getattr(os, name)

    def call(*arguments: Any, **named: Any) -> Any:
        about = arguments[-1]
        if name == "fsync":
            about = os.readlink(f"/proc/self/fd/{about}")
        hit(f"{name} before", about)
        done = real(*arguments, **named)
        hit(f"{name} after", about)
        return done

    setattr(os, name, call)


if FOLDER:
    for _name in ("rename", "replace", "fsync"):
        _wrap(_name)
