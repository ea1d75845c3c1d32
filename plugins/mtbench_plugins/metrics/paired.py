"""Metrics against the paired truth: their names and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

SYNTHRAD = "synthrad2025-image"

_PARAMS: Mapping[str, Any] = {
    "per": mtbench.Param(
        "slice", choices=("slice", "volume", "patient"), help="a case: a slice, a volume, a patient's volumes"
    ),
    "body": mtbench.Param(
        "none",
        choices=("none", "masks", "threshold"),
        help="region: everywhere, the masks of the truth, or the truth above a value",
    ),
    "threshold": mtbench.Param(-500.0, help="threshold of body=threshold, in the image's own unit"),
    "low": mtbench.Param(None, kind="float", help="lower end of the data range (default: that of the stored window)"),
    "high": mtbench.Param(None, kind="float", help="upper end of the data range (default: that of the stored window)"),
}

_SSIM_CITATION = "Wang et al., Image quality assessment: from error visibility to structural similarity, TIP 2004"


def preset() -> mtbench.Param:
    """The parameter that selects a published evaluation as a whole."""
    return mtbench.Param(
        None,
        kind="str",
        choices=(SYNTHRAD,),
        role="preset",
        help="compute as this challenge does; overrides other parameters",
    )


def _variant(params: Mapping[str, Any]) -> str:
    if params.get("preset"):
        return str(params["preset"])
    parts = [] if params["per"] == "slice" else [params["per"]]
    if params["body"] == "masks":
        parts.append("body")
    if params["body"] == "threshold":
        parts.append(f"body>{params['threshold']:g}")
    if params["low"] is not None or params["high"] is not None:
        ends = ("" if params[end] is None else f"{params[end]:g}" for end in ("low", "high"))
        parts.append("..".join(ends))
    if params.get("scales", 5) != 5:
        parts.append(f"scales={params['scales']}")
    return ",".join(parts)


def _spec(name: str, title: str, description: str, factory: str, **more: Any) -> mtbench.MetricSpec:
    params = {**_PARAMS, **more.pop("params", {})}
    return mtbench.MetricSpec(
        name,
        f"mtbench_plugins.metrics.paired_metrics:{factory}",
        title=title,
        description=description,
        params=params,
        shorthand="preset" if "preset" in params else "body",
        needs=("candidate", "paired"),
        family="paired",
        variant=_variant,
        interval="cases",
        answers_to=("noise", "blur", "shift", "contrast"),
        **more,
    )


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metrics ``mae``, ``psnr``, ``ssim`` and ``ms-ssim``."""
    with_preset = {"preset": preset()}
    yield _spec(
        "mae",
        "MAE",
        "mean absolute error, in the image's own unit",
        "Mae",
        params=with_preset,
        bounds=(0.0, math.inf),
    )
    yield _spec(
        "psnr",
        "PSNR",
        "peak signal-to-noise ratio",
        "Psnr",
        params=with_preset,
        measure_unit="dB",
        bounds=(-math.inf, 100.0),
        higher_is_better=True,
        decimals=2,
    )
    yield _spec(
        "ssim",
        "SSIM",
        "structural similarity, Gaussian window of sigma 1.5",
        "Ssim",
        bounds=(-1.0, 1.0),
        higher_is_better=True,
        decimals=3,
        citation=_SSIM_CITATION,
    )
    yield _spec(
        "ms-ssim",
        "MS-SSIM",
        "structural similarity over several scales",
        "MsSsim",
        bounds=(0.0, 1.0),
        params={
            **with_preset,
            "scales": mtbench.Param(5, minimum=1, maximum=5, help="resolutions, each half of the one before"),
        },
        revision="2",
        higher_is_better=True,
        decimals=3,
        citation="Wang et al., Multiscale structural similarity for image quality assessment, Asilomar 2003",
    )
