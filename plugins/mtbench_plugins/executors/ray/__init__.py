"""The executor ``ray``: units as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.executors._settings import from_table

PARAMS = {
    "address": mtbench.Param("", help="of a running cluster (auto, HOST:PORT, ray://...); empty: one here"),
    "num_gpus": mtbench.Param(1.0, minimum=0.0, help="GPUs of a unit that uses one, where there are any"),
    "retries": mtbench.Param(2, minimum=0, help="how often a unit whose node was lost is started again"),
}


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    """The executor ``ray``."""
    yield mtbench.ExecutorSpec(
        "ray",
        "mtbench_plugins.executors.ray.executor:Ray",
        params=PARAMS,
        configure=from_table("ray", PARAMS),
        description="units as tasks of a Ray cluster, by way of a shared file system",
    )
