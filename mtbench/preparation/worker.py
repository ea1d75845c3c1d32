"""Processes that read cases; the process that started them sends pickles through a pipe.

Not ``multiprocessing``: that reruns the user's script in each process unless it is guarded, and one killed process ends
all. Here a case whose process dies is one unusable case, and the next gets a new process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mtbench import childprocess

Conversion = tuple[str, dict[str, Any]]
"""Why a case has no samples (empty if it has), and the digests of the raw files that were read for it."""
Convert = Callable[[Any, Any, Path], Conversion]


class Workers:
    """One process for each thread that calls; call it as ``_convert`` in ``mtbench.preparation.cases``."""

    def __init__(self, convert: Convert) -> None:
        self._convert = convert
        self._local = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []

    def __call__(self, read: Any, case: Any, path: Path) -> Conversion:
        """Run it in this thread's process; returns the reason if the case has no samples, and the digests of the raw
        files.

        Raises:
            Exception: the exception raised in that process.
        """
        child = self._child()
        assert child.stdin is not None
        assert child.stdout is not None
        reply = None
        with contextlib.suppress(BrokenPipeError):
            _write(child.stdin, (self._convert, read, case, path))
            reply = _read(child.stdout)
        if reply is None:
            self._local.child = None
            return f"The process that read it died (exit code {child.wait()}), possibly because memory ran out.", {}
        conversion, error = reply
        if error is not None:
            raise error
        reason, read_files = conversion
        return str(reason), dict(read_files)

    def close(self) -> None:
        """End the processes; each finishes its current case."""
        for child in self._all:
            with contextlib.suppress(OSError):
                if child.stdin is not None:
                    child.stdin.close()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()

    def _child(self) -> subprocess.Popen[bytes]:
        child: subprocess.Popen[bytes] | None = getattr(self._local, "child", None)
        if child is None:
            child = subprocess.Popen(
                # Not by -m: the package imports this module, and Python would warn that it runs twice.
                childprocess.command("-c", f"from {__name__} import main; main()"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=childprocess.environment(),
            )
            self._local.child = child
            self._all.append(child)
        return child


def _write(pipe: IO[bytes], message: Any) -> None:
    content = pickle.dumps(message)
    pipe.write(len(content).to_bytes(8, "big") + content)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:
    """The next message; ``None`` if the other side has ended."""
    size = pipe.read(8)
    if len(size) < 8:
        return None
    content = pipe.read(int.from_bytes(size, "big"))
    return pickle.loads(content) if len(content) == int.from_bytes(size, "big") else None


def main() -> None:
    """Answer until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The output of a library must not mix with the answers.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (message := _read(sys.stdin.buffer)) is not None:
        convert, read, case, path = message
        try:
            _write(replies, (convert(read, case, path), None))
        except Exception as error:  # any exception goes to the process that asked
            error.add_note(traceback.format_exc())
            try:
                pickle.loads(pickle.dumps(error))
            except Exception:  # an exception that cannot be pickled
                error = RuntimeError(traceback.format_exc())
            _write(replies, ("", error))
