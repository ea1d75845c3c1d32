"""Consistency of neighbouring slices: its name and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``slice-consistency``."""
    yield mtbench.MetricSpec(
        "slice-consistency",
        "mtbench_plugins.metrics.consistency:SliceConsistency",
        title="Slice inconsistency",
        description="change between neighbouring slices of a volume against that of its source and of real target "
        "volumes, in octaves",
        citation="the change as in Huang et al., VBench: Comprehensive Benchmark Suite for Video Generative Models, "
        "CVPR 2024 (temporal flickering)",
        params={
            "per": mtbench.Param(
                "volume", choices=("volume", "patient"), help="a case: a volume, or a patient's volumes"
            ),
        },
        shorthand="per",
        needs=("candidate", "source", "reference"),
        variant=lambda params: "" if params["per"] == "volume" else "patient",
        interval="cases",
        bounds=(0.0, math.inf),
        decimals=3,
        caveat="a warning sign, not a quality: identity is close to 0 by construction; compare with the truth's row",
        beside="identity",
        answers_to=("noise",),
    )
