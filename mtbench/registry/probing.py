"""Tests imports in a separate process, so that a hang or crash does not affect this one.

``python -P -m mtbench.registry.probing`` reads a JSON list of trials from standard input and prints a line for each.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtbench import childprocess
from mtbench.registry.plugin import import_plugin_file
from mtbench.typed import Record

PATIENCE = 60.0
"""Time limit for the imports of one plugin, in seconds."""


@dataclass(frozen=True)
class Imports(Record):
    """The imports of one trial: a plugin file, if any, then modules, in this order."""

    file: Path | None = None
    modules: tuple[str, ...] = ()


def trial(imports: Sequence[Imports], patience: float | None = None) -> dict[int, str]:
    """Import modules in another process; return the problems by position in ``imports``.

    Args:
        imports: the trials.
        patience: time limit of one trial in seconds; ``MTBENCH_IMPORT_SECONDS`` or a minute by default.
    """
    seconds = patience or float(os.environ.get("MTBENCH_IMPORT_SECONDS", PATIENCE))
    problems: dict[int, str] = {}
    at = 0
    while at < len(imports):
        process = subprocess.Popen(
            childprocess.command("-m", __name__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=childprocess.environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout, contextlib.suppress(BrokenPipeError):
            with process.stdin as pipe:
                pipe.write(json.dumps([each.to_json() for each in imports[at:]]).encode())
            while at < len(imports):
                answer = _line(process.stdout.fileno(), seconds)
                if answer is None:
                    break
                if answer:
                    problems[at] = answer
                at += 1
        hung = process.poll() is None and at < len(imports) and not _has_ended(process)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        if at < len(imports):
            problems[at] = f"it did not finish within {seconds:g} s" if hung else f"it ended the process ({_how(code)})"
            at += 1
    return problems


def _line(handle: int, seconds: float) -> str | None:
    """The next line; ``None`` if the process prints nothing for that time or has ended."""
    until, text = time.monotonic() + seconds, b""
    while not text.endswith(b"\n"):
        if not select.select([handle], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        # One byte at a time, because the next bytes belong to the next line.
        data = os.read(handle, 1)
        if not data:
            return None
        text += data
    return str(json.loads(text))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    return process.poll() is not None


def _how(code: int) -> str:
    return signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"exit code {code}"


def main() -> None:
    """Print the result of each trial: an empty text, or the exception."""
    imports = [Imports.from_json(each) for each in json.load(sys.stdin)]
    # The output of modules must not mix with the results.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for each in imports:
        problem = ""
        try:
            if each.file:
                import_plugin_file(each.file)
            for module in each.modules:
                importlib.import_module(module)
        except BaseException as error:  # every exception of a module is a result
            problem = f"{type(error).__name__}: {error}"
        answers.write(json.dumps(problem) + "\n")
        answers.flush()
    # Exit without waiting for threads that a module has started.
    os._exit(0)


if __name__ == "__main__":
    main()
