"""Tries imports in a process of their own, so that one that hangs or crashes does so there.

``python -P -m mtbench.registry.probing`` reads a JSON list of trials from standard input and answers one line for each.
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
"""Seconds that one plugin's imports may take."""


@dataclass(frozen=True)
class Imports(Record):
    """What one trial imports: a plugin file, where there is one, then modules, in this order."""

    file: Path | None = None
    modules: tuple[str, ...] = ()


def trial(imports: Sequence[Imports], patience: float | None = None) -> dict[int, str]:
    """Import modules elsewhere; what went wrong, by position in ``imports``.

    Args:
        imports: the trials.
        patience: seconds for one trial; ``MTBENCH_IMPORT_SECONDS`` or a minute by default.
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
            problems[at] = f"it did not end within {seconds:g} s" if hung else f"it ended the process ({_how(code)})"
            at += 1
    return problems


def _line(handle: int, seconds: float) -> str | None:
    """The next answer; ``None`` if the process is silent for so long, or has ended."""
    until, text = time.monotonic() + seconds, b""
    while not text.endswith(b"\n"):
        if not select.select([handle], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        # One byte at a time: what follows belongs to the next answer.
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
    """Answer: an empty text for each trial that went well, else what was raised."""
    imports = [Imports.from_json(each) for each in json.load(sys.stdin)]
    # What a module prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for each in imports:
        problem = ""
        try:
            if each.file:
                import_plugin_file(each.file)
            for module in each.modules:
                importlib.import_module(module)
        except BaseException as error:  # whatever a module raises is an answer
            problem = f"{type(error).__name__}: {error}"
        answers.write(json.dumps(problem) + "\n")
        answers.flush()
    # Without waiting for threads that a module has started.
    os._exit(0)


if __name__ == "__main__":
    main()
