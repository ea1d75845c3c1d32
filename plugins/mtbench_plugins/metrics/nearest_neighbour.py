"""Share of translations that lie next to a training slice: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import any_features

_PUBLISHED = "inception-fid"


def _needs(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return ("candidate", *any_features.needs(params, "candidate", "reference", "training"))


def _variant(params: Mapping[str, Any]) -> str:
    more = [] if params["share"] == 0.05 else [f"share={params['share']:g}"]
    return any_features.variant(params, _PUBLISHED, *more)


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``nearest-neighbour``."""
    yield mtbench.MetricSpec(
        "nearest-neighbour",
        "mtbench_plugins.metrics.memorisation:NearestNeighbour",
        title="NN share",
        description="share of translations closer to a target training slice than held-out target slices are",
        citation="after Meehan et al., A Non-Parametric Test to Detect Data-Copying in Generative Models, AISTATS 2020",
        params={
            **any_features.parameters(_PUBLISHED),
            "share": mtbench.Param(
                0.05, minimum=0.001, maximum=0.5, help="of held-out target slices below the threshold"
            ),
        },
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        interval="cases",
        bounds=(0.0, 1.0),
        decimals=3,
        caveat="a sign of memorised training slices, not a quality",
    )
