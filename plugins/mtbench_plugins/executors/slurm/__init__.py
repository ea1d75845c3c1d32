"""The executor ``slurm``: every batch of units that are ready becomes one job array."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.executors._settings import from_table

PARAMS = {
    "partition": mtbench.Param(None, "str", help="where jobs go"),
    "account": mtbench.Param(None, "str", help="who pays"),
    "qos": mtbench.Param(None, "str", help="quality of service"),
    "constraint": mtbench.Param(None, "str", help="features that a node must have"),
    "gres": mtbench.Param(
        None, "str", help="GPUs of a unit that uses one, such as gpu:a100:1; gpu:1 with --device cuda"
    ),
    "time": mtbench.Param("08:00:00", help="time limit of a try, as Slurm writes it"),
    "memory": mtbench.Param("16G", help="memory of a unit, as Slurm writes it"),
    "at_once": mtbench.Param(64, minimum=1, help="units of an array that run at the same time"),
    "retries": mtbench.Param(3, minimum=0, help="how often a unit that runs out of time is queued again"),
    "poll": mtbench.Param(10.0, minimum=0.2, help="seconds between looks at the queue"),
    "setup": mtbench.Param([], "list", help="shell lines before the worker: module load ...", runs_program=True),
    "python": mtbench.Param("", help="the Python on the nodes; this one by default", runs_program=True),
}


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``slurm``."""
    yield mtbench.ExecutorSpec(
        "slurm",
        "mtbench_plugins.executors.slurm.executor:Slurm",
        params=PARAMS,
        configure=from_table("slurm", PARAMS),
        description="units as jobs of a Slurm cluster, by way of a shared file system",
    )
