"""The executor ``local``: each unit in its own process on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``local``."""
    yield mtbench.ExecutorSpec(
        "local",
        "mtbench_plugins.executors.local.client:Local",
        params={
            "jobs": mtbench.Param(
                0,
                minimum=0,
                role="jobs",
                help="parallel units, on GPU machines GPU units; 0: one per GPU, else cpu_jobs",
            ),
            "cpu_jobs": mtbench.Param(
                0, minimum=0, help="parallel units without a GPU; 0: the cores divided by the suite's threads"
            ),
            "start": mtbench.Param(
                "fork" if sys.platform == "linux" else "spawn",
                choices=("fork", "spawn"),
                help="fork: copy a process that has loaded torch; spawn: a new Python per unit",
            ),
        },
        shorthand="jobs",
        default=True,
        description="each unit in a new process on this machine, several in parallel; the default",
    )
