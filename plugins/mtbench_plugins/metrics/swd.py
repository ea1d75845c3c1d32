"""Sliced Wasserstein distance: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

PATCHES, DIRECTIONS = 128, 512


def variant(params: Mapping[str, Any]) -> str:
    """The variant's name, followed by every setting that differs from the published definition."""
    changed = [
        f"{name}={params[name]}"
        for name, published in (("patches", PATCHES), ("directions", DIRECTIONS), ("levels", None))
        if params[name] != published
    ]
    return ",".join([params["variant"], *changed])


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``swd``."""
    yield mtbench.MetricSpec(
        "swd",
        "mtbench_plugins.metrics.sliced_wasserstein:SlicedWasserstein",
        title="SWD",
        description="sliced Wasserstein distance of 7x7 patches over a Laplacian pyramid, times 1000",
        citation="Karras et al., Progressive Growing of GANs, ICLR 2018 (karras); "
        "koshian2/swd-pytorch, 2020 (koshian2)",
        params={
            "variant": mtbench.Param(
                "karras",
                choices=("karras", "koshian2"),
                help="karras: the published definition; koshian2: that of koshian2/swd-pytorch, about ten times larger",
            ),
            "patches": mtbench.Param(PATCHES, minimum=1, help="7x7 patches per image and pyramid level"),
            "directions": mtbench.Param(DIRECTIONS, minimum=1, help="random directions per pyramid level"),
            "levels": mtbench.Param(
                None, kind="int", minimum=1, help="pyramid levels (default: down to a side of 16 pixels)"
            ),
            "seed": mtbench.Param(0, minimum=0, help="seed of patch positions and directions"),
        },
        shorthand="variant",
        needs=("candidate", "reference"),
        variant=variant,
        balanced=True,
        interval="jackknife",
        decimals=1,
        answers_to=("noise", "blur"),
    )
