"""Dice: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``dice``."""
    yield mtbench.MetricSpec(
        "dice",
        "mtbench_plugins.metrics.overlap:Dice",
        title="Dice",
        description="overlap of masks predicted on translated slices with the masks of their source slices",
        params={
            "per": mtbench.Param(
                "slice", choices=("slice", "volume", "patient"), help="a case: a slice, a volume, a patient's volumes"
            ),
            "empty": mtbench.Param(
                "1", choices=("1", "skip"), help="value of a case with both masks empty; skip excludes it"
            ),
            "smooth": mtbench.Param(1e-4, minimum=0.0, help="added to numerator and denominator, in pixels"),
        },
        shorthand="per",
        needs=("predicted_masks", "reference_masks", "candidate"),
        higher_is_better=True,
        family="segmentation",
        variant=lambda params: params["per"] if params["empty"] == "1" else f"{params['per']},skip",
        interval="cases",
        bounds=(0.0, 1.0),
        decimals=3,
        symmetric=True,
        answers_to=("masks",),
    )
