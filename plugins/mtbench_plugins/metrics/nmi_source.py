"""Normalised mutual information of a translation and its source: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``nmi-source``."""
    yield mtbench.MetricSpec(
        "nmi-source",
        "mtbench_plugins.metrics.information:NmiSource",
        title="NMI to source",
        description="normalised mutual information of each translation with its own source slice",
        citation="Studholme et al., An overlap invariant entropy measure of 3D medical image alignment, "
        "Pattern Recognition 1999",
        params={"bins": mtbench.Param(64, minimum=2, maximum=256, help="grey-level bins of equal width over [0, 1]")},
        shorthand="bins",
        needs=("candidate", "source"),
        variant=lambda params: "" if params["bins"] == 64 else f"bins={params['bins']}",
        higher_is_better=True,
        interval="cases",
        bounds=(1.0, 2.0),
        decimals=3,
        caveat="similarity to the source, not a quality: identity has the maximum, 2",
        beside="identity",
        answers_to=("noise", "shift"),
    )
