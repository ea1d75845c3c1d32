"""Frechet Radiomic Distance, of whole images and of regions: names and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

_KONZ = "Konz, Osuala et al., Frechet Radiomic Distance, Medical Image Analysis 2026, arXiv 2412.01496"


def _needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    settings = {"laplacian": params["laplacian"]}
    return (
        mtbench.Features("candidate", "radiomics", ("features",), settings),
        mtbench.Features("reference", "radiomics", ("features",), settings),
    )


def _variant(params: Mapping[str, Any]) -> str:
    return ",".join(name.replace("_", "-") for name in ("paper_log", "laplacian") if params[name])


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metrics ``frd`` and ``frd-masked``."""
    yield mtbench.MetricSpec(
        "frd",
        "mtbench_plugins.metrics.radiomic_distance:Frd",
        title="FRD",
        description="logarithm of the Frechet distance of radiomic features, in units of the references' spread",
        citation=_KONZ,
        params={
            "paper_log": mtbench.Param(
                False, help="log d as in the paper's equation 3 instead of frd-score's log d^2: half the value"
            ),
            "laplacian": mtbench.Param(
                False, help="add features of Laplacian-of-Gaussian images, which frd-score omits in 2-D"
            ),
        },
        needs=_needs,
        variant=_variant,
        balanced=True,
        interval="jackknife",
        decimals=2,
        answers_to=("noise", "blur"),
    )
    yield mtbench.MetricSpec(
        "frd-masked",
        "mtbench_plugins.metrics.masked_radiomics:MaskedFrd",
        title="Masked FRD",
        description="logarithm of the Frechet distance of radiomic features within each region of the masks",
        citation=_KONZ,
        params={
            "paper_log": mtbench.Param(
                False, help="log d as in the paper's equation 3, in place of frd-score's log d^2: half the value"
            ),
        },
        needs=("candidate", "reference", "reference_masks"),
        variant=lambda params: "paper-log" if params["paper_log"] else "",
        balanced=True,
        interval="jackknife",
        decimals=2,
        answers_to=("noise", "blur"),
    )
