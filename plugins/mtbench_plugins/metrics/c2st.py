"""Classifier two-sample test: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import any_features

_DEFAULT = "inception-fid"


def _needs(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return ("candidate", *any_features.needs(params, "candidate", "reference"))


def _variant(params: Mapping[str, Any]) -> str:
    more = [] if params["folds"] == 5 else [f"folds={params['folds']}"]
    more += [] if params["penalty"] == 1.0 else [f"penalty={params['penalty']:g}"]
    return any_features.variant(params, "", *more)


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``c2st``."""
    yield mtbench.MetricSpec(
        "c2st",
        "mtbench_plugins.metrics.classifier:C2st",
        title="C2ST",
        description="how well a classifier tells translated from target images of patients it was not trained on",
        citation="Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017",
        params={
            **any_features.parameters(_DEFAULT),
            "folds": mtbench.Param(5, minimum=2, maximum=50, help="of the cross-validation; a patient is in one fold"),
            "penalty": mtbench.Param(1.0, minimum=1e-6, help="of half the squared weights of the logistic regression"),
            "seed": mtbench.Param(0, minimum=0, help="of the division of patients into folds"),
        },
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        balanced=True,
        bounds=(0.0, 1.0),
        decimals=3,
        symmetric=True,
    )
