"""The executor ``ray``: units as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.executors._settings import from_table

PARAMS = {
    "address": mtbench.Param(
        "", help="address of a running cluster (auto, HOST:PORT, ray://...); empty: start one here"
    ),
    "num_gpus": mtbench.Param(1.0, minimum=0.0, help="GPUs per unit that uses one; a fraction shares a GPU"),
    "retries": mtbench.Param(2, minimum=0, help="how often a unit is restarted after its node was lost"),
}


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``ray``."""
    yield mtbench.ExecutorSpec(
        "ray",
        "mtbench_plugins.executors.ray.executor:Ray",
        params=PARAMS,
        configure=from_table("ray", PARAMS),
        description="units as tasks of a Ray cluster; needs a shared file system",
    )
