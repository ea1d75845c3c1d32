"""Kernel Inception Distance: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import network_features

DEFAULTS: Mapping[str, Any] = {"subsets": None, "subset_size": None, "seed": 2020}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "torch-fidelity": {"subsets": 100, "subset_size": 1000, "seed": 2020},
    # That library takes all images if there are fewer than 1000, and draws without a seed.
    "clean-fid": {"subsets": 100, "subset_size": None},
}
"""pytorch-fid has no KID: its preset uses its features and our statistic."""


def _needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    return (
        network_features.need(params, "candidate", "pool"),
        network_features.need(params, "reference", "pool"),
    )


def _variant(params: Mapping[str, Any]) -> str:
    return network_features.variant(params, DEFAULTS, PRESETS)


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``kid``."""
    yield mtbench.MetricSpec(
        "kid",
        "mtbench_plugins.metrics.kernel_distance:Kid",
        title="KID",
        description="squared maximum mean discrepancy of network features, cubic kernel, unbiased",
        citation="Binkowski et al., Demystifying MMD GANs, ICLR 2018",
        params={
            **network_features.parameters(),
            "subsets": mtbench.Param(
                None,
                kind="int",
                minimum=1,
                help="number of random subsets to average over; by default all images at once",
            ),
            "subset_size": mtbench.Param(
                None, kind="int", minimum=2, help="images per subset (default: 1000, or all if fewer)"
            ),
            "seed": mtbench.Param(
                None, kind="int", minimum=0, maximum=2**32 - 1, help="seed of the subsets (default: 2020)"
            ),
        },
        shorthand="extractor",
        revision="2",
        needs=_needs,
        variant=_variant,
        balanced=True,
        interval="jackknife",
        symmetric=True,
        answers_to=("noise", "blur"),
    )
