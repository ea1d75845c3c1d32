"""The declaration, which mtbench reads at start-up: it imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``quantile-net``."""
    yield mtbench.TranslatorSpec(
        "quantile-net",
        "mtbench_quantile_net.model:QuantileNet",
        params={
            "epochs": mtbench.Param(20, minimum=1, help="passes over the training slices, at most"),
            "patience": mtbench.Param(5, minimum=1, help="stop after so many epochs without a better validation"),
            "filters": mtbench.Param(16, minimum=1, help="channels of the network"),
            "edges": mtbench.Param(1.0, minimum=0.0, help="weight of the loss that keeps edges in place"),
        },
        trains=True,
        description="sorted grey values as in the target domain, edges as in the source slice",
    )
