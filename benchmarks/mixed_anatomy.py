"""A dataset whose target shows another anatomy: lumbar MR to breast MR, for the control in benchmarks/learning.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mtbench

PARAMS = {"size": 64, "patients_source": 40, "patients_target": 40}


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """The dataset ``mixed-anatomy``."""
    yield mtbench.DatasetSpec(
        "mixed-anatomy",
        ":Mixed",
        params=PARAMS,
        source="lumbar MR",
        target="breast MR",
        access="generated",
    )


class Mixed:
    """Source slices of the lumbar phantom, target slices of the breast phantom, no masks."""

    def __init__(self, **params: int) -> None:
        self._params = {**params, "slices": 8, "seed": 0}

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Samples of both."""
        from mtbench_plugins.datasets.phantoms.dataset import BreastPhantom, LumbarPhantom

        for phantom, domain in ((LumbarPhantom, "source"), (BreastPhantom, "target")):
            for sample in phantom(**self._params).prepare(root, context):
                if sample.domain == domain:
                    yield replace(sample, mask=None)
