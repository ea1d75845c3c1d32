"""Precision, recall, density and coverage: their name and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import any_features

_PUBLISHED = "inception-fid"


def _needs(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return ("candidate", *any_features.needs(params, "candidate", "reference"))


def _variant(params: Mapping[str, Any]) -> str:
    more = [] if params["neighbours"] == "all" else [params["neighbours"]]
    more += [] if params["k"] == 5 else [f"k={params['k']}"]
    return any_features.variant(params, _PUBLISHED, *more)


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``prdc``."""
    yield mtbench.MetricSpec(
        "prdc",
        "mtbench_plugins.metrics.manifolds:Prdc",
        title="PRDC",
        description="precision, recall, density and coverage of one set by the neighbourhoods of the other",
        citation="Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, ICML 2020",
        params={
            **any_features.parameters(_PUBLISHED),
            "k": mtbench.Param(5, minimum=1, help="neighbours that make a neighbourhood"),
            "neighbours": mtbench.Param(
                "other-patients",
                choices=("other-patients", "all"),
                help="slices that count as neighbours within a set; all is the published definition",
            ),
        },
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        higher_is_better=True,
        balanced=True,
        interval="jackknife",
        # Density can exceed 1.
        bounds=(0.0, math.inf),
        decimals=3,
    )
