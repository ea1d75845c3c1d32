"""The batch script of a job array: plain text from the units and the user's options."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtbench import childprocess

NOTICE = 90
"""Seconds before its time limit at which Slurm signals a job that it will be stopped."""
_NO_EMPTY_ENTRIES = """\
if [ -n "${PYTHONPATH:-}" ]; then  # without empty entries, which stand for the current folder
    PYTHONPATH=$(tr -s : <<< "$PYTHONPATH"); PYTHONPATH=${PYTHONPATH#:}; PYTHONPATH=${PYTHONPATH%:}
fi"""


def batch_script(folder: Path, count: int, options: Mapping[str, Any], *, threads: int, gpu: bool) -> str:
    """The script of an array of ``count`` tasks; task i runs the unit file ``folder``/i.json.

    A task that runs out of time requeues itself, up to ``retries`` times, and a fit resumes from its checkpoint. Slurm
    requeues a task whose node is lost.
    """
    directives = {
        "job-name": "mtbench",
        "array": f"0-{count - 1}%{options['at_once']}",
        "partition": options["partition"],
        "account": options["account"],
        "qos": options["qos"],
        "constraint": options["constraint"],
        "gres": (options["gres"] or "gpu:1") if gpu else None,
        "time": options["time"],
        "mem": options["memory"],
        "cpus-per-task": threads,
        "nodes": 1,
        "ntasks": 1,
        "output": folder / "%a.log",
        "open-mode": "append",
        "signal": f"B:USR1@{NOTICE}",
    }
    head = [f"#SBATCH --{name}={value}" for name, value in directives.items() if value not in (None, "")]
    worker = shlex.join(childprocess.command("-m", "mtbench", "worker", python=options["python"]))
    unit = f"{shlex.quote(str(folder))}/$SLURM_ARRAY_TASK_ID.json"
    return "\n".join(
        [
            "#!/bin/bash",
            *head,
            "#SBATCH --requeue",
            *_lines(options["setup"]),
            _NO_EMPTY_ENTRIES,
            "again() {",
            '    kill -TERM "$worker" 2>/dev/null; wait "$worker"',
            f'    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {options["retries"]} ]; then',
            '        scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"; sleep 60',
            "    fi",
            "    exit 124",
            "}",
            "trap again USR1",
            f"{worker} {unit} &",
            "worker=$!",
            'wait "$worker"',
            "",
        ]
    )


def _lines(setup: Sequence[Any]) -> list[str]:
    return [str(line) for line in setup]
