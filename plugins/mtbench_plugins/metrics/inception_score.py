"""Inception Score: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import network_features

DEFAULTS: Mapping[str, Any] = {"splits": 10, "shuffle": True, "seed": 2020}


def _needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    return (network_features.need(params, "candidate", "logits"),)


def _variant(params: Mapping[str, Any]) -> str:
    return network_features.variant(params, DEFAULTS, {})


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``is``."""
    yield mtbench.MetricSpec(
        "is",
        "mtbench_plugins.metrics.class_spread:InceptionScore",
        title="IS",
        description="how certain and how varied a classifier's predictions on translated images are; needs no target",
        citation="Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016",
        params={
            **network_features.parameters(),
            "splits": mtbench.Param(
                DEFAULTS["splits"], minimum=1, help="number of splits of the images; the score is their mean"
            ),
            "shuffle": mtbench.Param(DEFAULTS["shuffle"], help="shuffle the images before splitting"),
            "seed": mtbench.Param(DEFAULTS["seed"], minimum=0, maximum=2**32 - 1, help="seed of the shuffle"),
        },
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        higher_is_better=True,
        interval="jackknife",
    )
