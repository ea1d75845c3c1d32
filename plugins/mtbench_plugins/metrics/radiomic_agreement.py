"""Agreement of radiomic features by region: its name and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench


def _needs(params: Mapping[str, Any]) -> tuple[Any, ...]:
    if params["features"] == "shape":
        return ("candidate", "predicted_masks", "reference_masks")
    return ("candidate", "paired", "reference_masks")


def _variant(params: Mapping[str, Any]) -> str:
    return ",".join([params["features"], *([] if params["per"] == "slice" else [params["per"]])])


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``radiomic-agreement``."""
    yield mtbench.MetricSpec(
        "radiomic-agreement",
        "mtbench_plugins.metrics.agreement:RadiomicAgreement",
        title="CCC",
        description="concordance of radiomic features over slices, volumes or patients, for each region and feature",
        citation="Lin, A Concordance Correlation Coefficient to Evaluate Reproducibility, Biometrics 1989; features: "
        "Zwanenburg et al., The Image Biomarker Standardization Initiative, Radiology 2020",
        params={
            "features": mtbench.Param(
                "first-order",
                choices=("first-order", "shape"),
                help="of intensities, translation against truth; or of masks, segmented against the source's",
            ),
            "per": mtbench.Param(
                "slice", choices=("slice", "volume", "patient"), help="a case: a slice, a volume, a patient's volumes"
            ),
        },
        shorthand="features",
        needs=_needs,
        higher_is_better=True,
        family="paired",
        variant=_variant,
        interval="jackknife",
        bounds=(-1.0, 1.0),
        decimals=3,
    )
