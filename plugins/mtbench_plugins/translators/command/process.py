"""Run a program so that none of its processes outlives it or mtbench."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mtbench import childprocess
from mtbench.errors import PluginError

_LINES = 8
_BYTES = 16384
# Ends the program's processes when the pipe closes, that is, when mtbench was killed and could not end them itself.
_GUARD = "import os, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), 9)"
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables of mtbench's environment that would mislead the Python of another environment."""


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout: float,
    log: Path,
    where: str,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        env: variables to set, over those of this process.
        timeout: seconds.
        log: a file for its output.
        where: its name in errors.
        watch: called at intervals while it runs.

    Raises:
        PluginError: it cannot be started, takes too long, or ends with an exit code other than 0; the text ends with
            the last lines of its output.
    """
    inherited = childprocess.users_environment()
    variables = {name: value for name, value in inherited.items() if name not in _FOREIGN} | dict(env)
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            raise PluginError(
                f"'{command[0]}' cannot be started: {error.strerror or error}",
                where=where,
                expected="an executable program, by its full path or in PATH",
            ) from error
    with _guarded(process):
        ends = time.monotonic() + timeout
        while process.poll() is None:
            if time.monotonic() > ends:
                raise PluginError(
                    f"the program was stopped after {timeout:g} seconds",
                    where=where,
                    expected="a program that ends within its timeout, which can be raised",
                    remedy=tail(log),
                )
            watch()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
    if process.returncode:
        code = process.returncode
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        raise PluginError(f"the program ended with {how}", where=where, expected="exit code 0", remedy=tail(log))


@contextlib.contextmanager
def _guarded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """However the block ends, even if this process is killed in it, no process of the program's group remains."""
    guard = subprocess.Popen(
        childprocess.command("-I", "-S", "-c", _GUARD, str(process.pid)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(log: Path) -> str:
    """The last lines that the program printed, as the last sentence of an error."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()][-_LINES:]
    return (
        "The end of its output:\n  " + "\n  ".join(lines) + "\n(end of what it printed)"
        if lines
        else "It printed nothing"
    )
