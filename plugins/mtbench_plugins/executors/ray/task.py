"""What runs on a node: one worker process for one unit, which lets go of all its memory when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


def work(unit: str, timeout: float | None) -> tuple[str, str]:
    """Run the unit file; how that went ("exit" or "timeout") and the end of what it printed."""
    command = [sys.executable, "-m", "mtbench", "worker", unit]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    how = "exit"
    try:
        printed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        how = "timeout"
        printed = _stop(process)
    except BaseException:
        _stop(process)
        raise
    return how, printed[-10_000:].decode(errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> bytes:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]
