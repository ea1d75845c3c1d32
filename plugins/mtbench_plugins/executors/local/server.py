"""The fork server: ``python -P -m mtbench_plugins.executors.local.server SOCKET FOLDER``.

It has imported torch and the core, has not touched a GPU, loaded no plugin and started no thread; so a unit's process
is a fork away. It watches the time, memory, output and end of those processes. It speaks JSON lines through
a socket. When the run that started it ends, it kills its processes, removes FOLDER and ends.

To the server: ``{"unit": FILE, "scratch": FOLDER, "env": {...}, "timeout": s, "memory_mb": MB,
"spawn": false}``.
From it: ``{"gpus": N}`` once, then for each unit ``{"unit": FILE, "ended": how, "code": N, "seconds": s,
"memory_mb": MB, "output": text}`` where how is exit, signal, timeout, memory or system-memory.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtbench import childprocess
from mtbench.openmp import wait_briefly
from mtbench.stages import STAGES
from mtbench_plugins.executors.local import processes

PRELOAD = (
    "torch",
    "numpy.random",
    "threadpoolctl",
    "mtbench.engine.worker",
    *(f"mtbench.stages.{stage}" for stage in STAGES),
)
"""Not pyarrow: it starts a thread when it is imported, and threads do not survive a fork."""
_HEAD, _TAIL = 16_384, 49_152
"""Characters kept of a unit's output: its beginning and its end."""
_TICK = 0.1


@dataclass
class Child:
    """A unit's process."""

    pid: int
    unit: str
    pipe: int
    timeout: float | None
    memory_mb: float | None
    started: float = field(default_factory=time.monotonic)
    why: str = ""
    peak_mb: float = 0.0
    head: bytes = b""
    tail: bytes = b""
    dropped: int = 0

    def take(self, data: bytes) -> None:
        """Keep its output, within the limit."""
        room = _HEAD - len(self.head)
        self.head, rest = self.head + data[:room], data[room:]
        tail = self.tail + rest
        self.dropped += max(0, len(tail) - _TAIL)
        self.tail = tail[-_TAIL:]

    def output(self) -> str:
        """The kept output."""
        gap = f"\n[... {self.dropped} bytes omitted ...]\n".encode() if self.dropped else b""
        return (self.head + gap + self.tail).decode(errors="replace")


class Server:
    """Starts and watches processes until the socket is closed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, Child] = {}
        self._unread = b""
        self._last_look = 0.0
        self._ooms = processes.killed_for_memory()
        self._wake, waker = os.pipe()
        for end in (self._wake, waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Run until the other side closes the socket."""
        self._say({"gpus": _gpus()})
        try:
            while True:
                for key, _ in self._selector.select(_TICK if self._children else None):
                    if key.fileobj is self._control:
                        data = self._control.recv(65536)
                        if not data:
                            return
                        *lines, self._unread = (self._unread + data).split(b"\n")
                        for line in lines:
                            self._start(json.loads(line))
                    elif key.fileobj == self._wake:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake, 4096)
                    else:
                        self._read(key.data)
                self._look()
        finally:
            for child in self._children.values():
                processes.kill_family(child.pid)

    def _say(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def _start(self, request: dict[str, Any]) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _unit(request, writing)
        os.close(writing)
        child = Child(pid, request["unit"], reading, request["timeout"], request["memory_mb"])
        self._children[pid] = child
        self._selector.register(reading, selectors.EVENT_READ, child)

    def _read(self, child: Child) -> None:
        # A bounded number of times, so that a unit that never stops printing does not block the others.
        for _ in range(16):
            try:
                data = os.read(child.pipe, 65536)
            except BlockingIOError:
                return
            if not data:
                self._selector.unregister(child.pipe)
                return
            child.take(data)

    def _look(self) -> None:
        """End units that exceed a limit, and collect those that have ended."""
        now = time.monotonic()
        for child in list(self._children.values()):
            # Not reaped yet, so that its number is not reused while its descendants are collected.
            end = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if end is not None:
                self._end(child)
                self._last_look = 0.0
            elif child.timeout is not None and now - child.started > child.timeout and not child.why:
                child.why = "timeout"
                processes.kill_family(child.pid)
        if now - self._last_look >= 0.2:
            self._last_look = now
            table = processes.table()
            self._weigh(table)
            self._bury(table)

    def _weigh(self, table: processes.ProcessTable) -> None:
        for child in self._children.values():
            pids = processes.family(child.pid, table)
            resident = processes.resident_mb(pids)
            child.peak_mb = max(child.peak_mb, resident)
            if child.memory_mb is None or resident <= child.memory_mb or child.why:
                continue
            if len(pids) == 1 or processes.proportional_mb(pids) > child.memory_mb:
                child.why = "memory"
                processes.kill_family(child.pid)

    def _end(self, child: Child) -> None:
        processes.kill_family(child.pid)
        _, status = os.waitpid(child.pid, 0)
        del self._children[child.pid]
        if child.pipe in self._selector.get_map():
            self._read(child)
        if child.pipe in self._selector.get_map():
            self._selector.unregister(child.pipe)
        os.close(child.pipe)
        how, code = ("signal", os.WTERMSIG(status)) if os.WIFSIGNALED(status) else ("exit", os.WEXITSTATUS(status))
        ooms = processes.killed_for_memory()
        if how == "signal" and code == signal.SIGKILL and not child.why and ooms > self._ooms:
            how = "system-memory"
        self._ooms = ooms
        self._say(
            {
                "unit": child.unit,
                "ended": child.why or how,
                "code": code,
                "seconds": round(time.monotonic() - child.started, 3),
                "memory_mb": round(child.peak_mb, 1),
                "output": child.output(),
            }
        )

    def _bury(self, table: processes.ProcessTable) -> None:
        """End orphans of finished units, which become children of this process; reap those that died."""
        for pid, (parent, session, dead) in table.items():
            if parent == os.getpid() and pid not in self._children:
                if not dead and session not in self._children:
                    processes.kill_family(pid)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _unit(request: dict[str, Any], output: int) -> None:
    """The life of a unit's process; does not return."""
    code = 1
    try:
        parent = os.getppid()
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, 4096)
        processes.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        processes.be_killed_first()
        os.environ.update(request["env"], TMPDIR=request["scratch"])
        tempfile.tempdir = None
        if request["spawn"]:
            command = childprocess.command("-m", "mtbench", "worker", request["unit"])
            os.execv(command[0], command)
        from mtbench.engine.worker import execute_file

        execute_file(Path(request["unit"]))
        code = 0
    except BaseException:  # a plugin may raise anything; this process ends here
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        # Without waiting for threads that a plugin has left running.
        os._exit(code)


def _gpus() -> int:
    """How many GPUs a unit can see; counted in a separate process, so that this one never touches them."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return 0
    pid = os.fork()
    if pid == 0:
        count = 0
        with contextlib.suppress(Exception):
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        os._exit(min(count, 255))
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])


def main() -> None:
    """Serve, then clean up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    folder = sys.argv[2]
    try:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # its threads start at import; a unit sets its own number
        wait_briefly()
        for name in PRELOAD:
            importlib.import_module(name)
        processes.adopt_orphans()
        gc.collect()
        gc.freeze()
        Server(control).serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
