"""Frechet distance on the features of any network: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import any_features

_DEFAULT = "inception-fid"


def _needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    return any_features.needs(params, "candidate", "reference")


def _variant(params: Mapping[str, Any]) -> str:
    # Always named: there is no published default, and FD of another network is another number.
    return any_features.variant(params, "")


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``fd``."""
    yield mtbench.MetricSpec(
        "fd",
        "mtbench_plugins.metrics.frechet:Fd",
        title="FD",
        description="Frechet distance of the features of any network, each set taken as a Gaussian",
        citation="Stein et al., Exposing Flaws of Generative Model Evaluation Metrics, NeurIPS 2023; "
        "Dowson and Landau, The Frechet Distance between Multivariate Normal Distributions, 1982",
        params=any_features.parameters(_DEFAULT),
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        balanced=True,
        interval="jackknife",
        symmetric=True,
        answers_to=("noise", "blur"),
    )
