"""The executor ``local``: each unit in a process of its own on this machine."""

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
                0, minimum=0, role="jobs", help="units at once, on GPUs those that use one; 0: one a GPU, else cpu_jobs"
            ),
            "cpu_jobs": mtbench.Param(
                0, minimum=0, help="units at once that use no GPU; 0: one for each threads cores"
            ),
            "start": mtbench.Param(
                "fork" if sys.platform == "linux" else "spawn",
                choices=("fork", "spawn"),
                help="a copy of a process that has torch loaded, or a new Python for each unit",
            ),
        },
        shorthand="jobs",
        default=True,
        description="each unit in a fresh process of this machine, several at once; the default",
    )
