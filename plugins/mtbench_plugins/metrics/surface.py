"""Distances between the surfaces of masks: their names and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

_SHARED = {
    "per": mtbench.Param(
        "slice",
        choices=("slice", "volume", "patient"),
        help="contours of slices, surfaces of volumes, or of patients' volumes",
    ),
    "measure_unit": mtbench.Param(
        "auto",
        choices=("auto", "mm", "pixels"),
        help="unit of distances; auto: mm if every slice has a spacing, pixels if none has",
    ),
}


def _variant(params: Mapping[str, Any]) -> str:
    parts = [params["per"]]
    if params["measure_unit"] != "auto":
        parts.append(params["measure_unit"])
    if params.get("missing") == "skip":
        parts.append("missing=skip")
    if "tolerance" in params:
        parts.append(f"{params['tolerance']:g}")
        parts.append(params["count"])
        if params["empty"] == "skip":
            parts.append("skip")
    return ",".join(parts)


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metrics ``hd95`` and ``nsd``."""
    yield mtbench.MetricSpec(
        "hd95",
        "mtbench_plugins.metrics.surface_distances:Hausdorff95",
        title="HD95",
        description="95th percentile of the distances between mask surfaces, larger of both directions",
        citation="Huttenlocher et al., Comparing images using the Hausdorff distance, TPAMI 1993",
        params={
            **_SHARED,
            "missing": mtbench.Param(
                "diagonal",
                choices=("diagonal", "skip"),
                help="value of a case with one mask empty: the image's diagonal, or excluded",
            ),
        },
        shorthand="per",
        needs=("predicted_masks", "reference_masks", "candidate"),
        family="segmentation",
        variant=_variant,
        interval="cases",
        bounds=(0.0, math.inf),
        decimals=1,
        symmetric=True,
        answers_to=("masks",),
    )
    yield mtbench.MetricSpec(
        "nsd",
        "mtbench_plugins.metrics.surface_distances:SurfaceDice",
        title="NSD",
        description="share of both masks' surfaces that lies within a tolerance of the other surface",
        citation="Nikolov et al., Clinically applicable segmentation of head and neck anatomy, JMIR 2021",
        params={
            **_SHARED,
            "count": mtbench.Param(
                "area",
                choices=("area", "voxels"),
                help="share of the surface area (contour length), as published, or of surface voxels",
            ),
            "tolerance": mtbench.Param(2.0, minimum=0.0, help="tolerance, in the unit of the distances"),
            "empty": mtbench.Param(
                "1", choices=("1", "skip"), help="value of a case with both masks empty; skip excludes it"
            ),
        },
        revision="2",
        shorthand="per",
        needs=("predicted_masks", "reference_masks", "candidate"),
        higher_is_better=True,
        family="segmentation",
        variant=_variant,
        interval="cases",
        bounds=(0.0, 1.0),
        decimals=3,
        symmetric=True,
        answers_to=("masks",),
    )
