"""The executor ``slurm``: every batch of units that are ready becomes one job array."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.executors._settings import from_table

PARAMS = {
    "partition": mtbench.Param(None, "str", help="partition for the jobs"),
    "account": mtbench.Param(None, "str", help="account to charge"),
    "qos": mtbench.Param(None, "str", help="quality of service"),
    "constraint": mtbench.Param(None, "str", help="node features that are required"),
    "gres": mtbench.Param(
        None, "str", help="GPUs per unit that uses one, such as gpu:a100:1; gpu:1 with --device cuda"
    ),
    "time": mtbench.Param("08:00:00", help="time limit of an attempt, in Slurm's notation"),
    "memory": mtbench.Param("16G", help="memory per unit, in Slurm's notation"),
    "at_once": mtbench.Param(64, minimum=1, help="units of an array that run in parallel"),
    "retries": mtbench.Param(3, minimum=0, help="how often a unit that runs out of time is requeued"),
    "poll": mtbench.Param(10.0, minimum=0.2, help="seconds between checks of the queue"),
    "setup": mtbench.Param(
        [], "list", help="shell lines to run before the worker, such as module load ...", runs_program=True
    ),
    "python": mtbench.Param("", help="Python on the nodes (default: the current one)", runs_program=True),
}


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``slurm``."""
    yield mtbench.ExecutorSpec(
        "slurm",
        "mtbench_plugins.executors.slurm.executor:Slurm",
        params=PARAMS,
        configure=from_table("slurm", PARAMS),
        description="units as jobs of a Slurm cluster; needs a shared file system",
    )
