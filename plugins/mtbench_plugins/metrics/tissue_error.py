"""Intensity error by tissue: its name and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench


def _variant(params: Mapping[str, Any]) -> str:
    return ",".join([params["error"], *([] if params["per"] == "slice" else [params["per"]])])


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``tissue-error``."""
    yield mtbench.MetricSpec(
        "tissue-error",
        "mtbench_plugins.metrics.tissues:TissueError",
        title="Tissue error",
        description="intensity error against the paired truth within each region of the masks, in the image's own unit",
        citation="after Thummerer et al., SynthRAD2023 Grand Challenge dataset, Medical Physics 2023 (MAE in a mask)",
        params={
            "error": mtbench.Param(
                "mae",
                choices=("mae", "bias"),
                help="mean absolute error, or the absolute value of each case's mean error",
            ),
            "per": mtbench.Param(
                "slice", choices=("slice", "volume", "patient"), help="a case: a slice, a volume, a patient's volumes"
            ),
        },
        shorthand="error",
        needs=("candidate", "paired", "reference_masks"),
        family="paired",
        variant=_variant,
        interval="cases",
        bounds=(0.0, math.inf),
        answers_to=("noise", "shift"),
    )
