"""Frechet Inception Distance: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import network_features


def _needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    return (
        network_features.need(params, "candidate", "pool"),
        network_features.need(params, "reference", "pool"),
    )


def _variant(params: Mapping[str, Any]) -> str:
    return network_features.variant(params, {}, {})


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``fid``."""
    yield mtbench.MetricSpec(
        "fid",
        "mtbench_plugins.metrics.frechet:Fid",
        title="FID",
        description="Frechet distance of network features, each set modelled as a Gaussian",
        citation="Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017",
        params=network_features.parameters(),
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        balanced=True,
        interval="jackknife",
        decimals=1,
        symmetric=True,
        answers_to=("noise", "blur"),
    )
