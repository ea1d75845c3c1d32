"""Maximum mean discrepancy with a Gaussian kernel: names and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench_plugins.metrics import any_features

_DEFAULT = "inception-fid"
_GRETTON = "Gretton et al., A Kernel Two-Sample Test, JMLR 2012"


def _needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    two = any_features.needs(params, "candidate", "reference")
    return two if params["bandwidth"] is not None else (*two, any_features.need(params, "training"))


def _variant(params: Mapping[str, Any]) -> str:
    more = ["patient"] if params["per"] == "patient" else []
    more += [] if params["bandwidth"] is None else [f"bandwidth={params['bandwidth']:g}"]
    return any_features.variant(params, "", *more)


def _cmmd_needs(params: Mapping[str, Any]) -> tuple[mtbench.Features, ...]:
    settings = {"weights": params["weights"]} if params["weights"] else {}
    return tuple(mtbench.Features(side, "clip-vitl14-336", ("features",), settings) for side in _SIDES)


_SIDES: tuple[any_features.Side, ...] = ("candidate", "reference")


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metrics ``mmd`` and ``cmmd``."""
    yield mtbench.MetricSpec(
        "mmd",
        "mtbench_plugins.metrics.gaussian_discrepancy:Mmd",
        title="MMD²",
        description="squared maximum mean discrepancy, Gaussian kernel, unbiased, on the features of any network",
        citation=_GRETTON,
        params={
            **any_features.parameters(_DEFAULT),
            "bandwidth": mtbench.Param(
                None,
                kind="float",
                minimum=1e-12,
                help="of the kernel; by default the median distance of target training slices of different patients "
                "(per=patient: of training patients)",
            ),
            "per": mtbench.Param(
                "slice",
                choices=("slice", "patient"),
                help="N: slices, or patients, whose features are averaged over each volume, then over volumes",
            ),
        },
        shorthand="extractor",
        needs=_needs,
        variant=_variant,
        # Drawn slices would change the mean of a patient; the estimate has no bias at any two numbers of patients.
        balanced=lambda params: params.get("per") != "patient",
        interval="jackknife",
        symmetric=True,
        answers_to=("noise", "blur"),
    )
    yield mtbench.MetricSpec(
        "cmmd",
        "mtbench_plugins.metrics.gaussian_discrepancy:Cmmd",
        title="CMMD",
        description="maximum mean discrepancy of CLIP embeddings, Gaussian kernel of bandwidth 10, times 1000",
        citation=f"Jayasumana et al., Rethinking FID: Towards a Better Evaluation Metric for Image Generation, "
        f"CVPR 2024; {_GRETTON}",
        params={
            "estimator": mtbench.Param(
                "unbiased",
                choices=("unbiased", "biased"),
                help="of the paper; biased, with each image's kernel with itself, is that of its published code",
            ),
            "weights": mtbench.Param(None, kind="path", help="a weight file for CLIP"),
        },
        shorthand="estimator",
        needs=_cmmd_needs,
        variant=lambda params: "" if params["estimator"] == "unbiased" else "biased",
        balanced=True,
        interval="jackknife",
        decimals=3,
        symmetric=True,
        answers_to=("noise", "blur"),
    )
