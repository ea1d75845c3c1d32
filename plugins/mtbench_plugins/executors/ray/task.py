"""What runs on a node: one worker process for one unit, which lets go of all its memory when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from mtbench import childprocess


def work(unit: str, timeout: float | None, folder: str) -> tuple[str, str]:
    """Run the unit file; how that went ("exit" or "timeout") and the end of what it printed.

    Args:
        unit: the file.
        timeout: seconds.
        folder: the current folder of the run, and of the unit's process where the node has that folder.
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
