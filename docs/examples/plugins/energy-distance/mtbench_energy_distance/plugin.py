"""Two declarations in one distribution: the extractor, and the metric that reads its features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

HISTOGRAM = {
    "bins": mtbench.Param(8, minimum=2, help="directions of the gradient"),
    "cells": mtbench.Param(4, minimum=1, help="histograms along each side of the image"),
}


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    """The extractor ``gradient-histogram``; other metrics can name it too."""
    yield mtbench.ExtractorSpec(
        "gradient-histogram",
        "mtbench_energy_distance.extractor:GradientHistogram",
        params=HISTOGRAM,
        arrays=("histogram",),
        description="histograms of gradient directions in a grid of cells",
        citation="Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005",
    )


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``energy-distance``."""
    yield mtbench.MetricSpec(
        "energy-distance",
        "mtbench_energy_distance.metric:EnergyDistance",
        title="Energy distance",
        params=HISTOGRAM,
        needs=needs,
        variant=variant,
        balanced=True,
        # mtbench leaves out one patient at a time and calls resample() for each.
        interval="jackknife",
        symmetric=True,
        answers_to=("noise", "blur"),
        description="energy distance of gradient histograms, unbiased",
        citation="Szekely and Rizzo, Energy statistics, J. Statistical Planning and Inference 143, 2013",
    )


def needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    """Features of both sides, extracted once and shared by all metrics that need the same ones."""
    return (
        mtbench.Features("candidate", "gradient-histogram", ("histogram",), dict(params)),
        mtbench.Features("reference", "gradient-histogram", ("histogram",), dict(params)),
    )


def variant(params: Mapping[str, Any]) -> str:
    """Settings other than the defaults, so that their scores never share a column."""
    return ",".join(f"{name}={params[name]}" for name, param in HISTOGRAM.items() if params[name] != param.default)
