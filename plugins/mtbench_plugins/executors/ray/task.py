"""The code that runs on a node: one worker process per unit, which releases all its memory when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from mtbench import childprocess


def work(unit: str, timeout: float | None, folder: str) -> tuple[str, str]:
    """Run the unit file; returns how it ended ("exit" or "timeout") and the last lines of its output.

    Args:
        unit: the file.
        timeout: seconds.
        folder: the current folder of the run; also of the unit's process if the node has that folder.
    """
    process = subprocess.Popen(
        childprocess.command("-m", "mtbench", "worker", unit),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=folder if os.path.isdir(folder) else None,
        env=childprocess.plain_environment(),
    )
    how = "exit"
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        how = "timeout"
        output = _stop(process)
    except BaseException:
        _stop(process)
        raise
    return how, output[-10_000:].decode(errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> bytes:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]
