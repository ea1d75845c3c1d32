"""Lesions and structures one by one, and what was added or removed: names and parameters of the metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

_PER = mtbench.Param(
    "patient", choices=("slice", "volume", "patient"), help="a case is a slice, a volume, or the mean of a patient's"
)
_MATCHING = {
    "per": _PER,
    "size": mtbench.Param("all", choices=("all", "small", "medium", "large"), help="which lesions count, by diameter"),
    "overlap": mtbench.Param(0.1, minimum=0.0, maximum=1.0, help="smallest IoU of a matched pair"),
    "medium_from": mtbench.Param(7.5, minimum=0.0, help="smallest diameter of a medium lesion, in mm"),
    "large_from": mtbench.Param(15.0, minimum=0.0, help="smallest diameter of a large lesion, in mm"),
}
_KIRILLOV = "matching after Kirillov et al., Panoptic segmentation, CVPR 2019"


def _variant(params: Mapping[str, Any]) -> str:
    parts = [params.get("score") or params["error"], *([params["per"]] if params["per"] != "patient" else [])]
    if params["size"] != "all":
        limits = {
            "small": f"<{params['medium_from']:g}mm",
            "medium": f"{params['medium_from']:g}-{params['large_from']:g}mm",
            "large": f">={params['large_from']:g}mm",
        }
        parts.append(limits[params["size"]])
    if params["overlap"] != _MATCHING["overlap"].default:
        parts.append(f"IoU>={params['overlap']:g}" if params["overlap"] else "IoU>0")
    if params.get("empty") == "skip":
        parts.append("skip")
    return ",".join(parts)


def _changes_variant(params: Mapping[str, Any]) -> str:
    parts = [params["change"], *([params["per"]] if params["per"] != "patient" else [])]
    if params["count"] == "components":
        parts.append("components")
        if params["overlap"] != _MATCHING["overlap"].default:
            parts.append(f"IoU>={params['overlap']:g}" if params["overlap"] else "IoU>0")
    return ",".join(parts)


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metrics ``lesions``, ``lesion-error`` and ``changes``."""
    yield mtbench.MetricSpec(
        "lesions",
        "mtbench_plugins.metrics.lesion_scores:LesionScore",
        title="Lesions",
        description="lesions (connected components) of the source's mask found again in the translation's segmentation",
        citation=_KIRILLOV,
        params={
            "score": mtbench.Param(
                "f1", choices=("f1", "recall", "precision", "dice"), help="score; dice counts unmatched lesions as 0"
            ),
            **_MATCHING,
            "empty": mtbench.Param(
                "1", choices=("1", "skip"), help="f1 and dice of a case without any lesion; skip excludes it"
            ),
        },
        shorthand="score",
        needs=("predicted_masks", "reference_masks", "candidate"),
        higher_is_better=True,
        family="segmentation",
        variant=_variant,
        interval="cases",
        bounds=(0.0, 1.0),
        decimals=3,
    )
    yield mtbench.MetricSpec(
        "lesion-error",
        "mtbench_plugins.metrics.lesion_scores:LesionError",
        title="Lesion error",
        description="error of the volume or the place of matched lesions",
        citation=_KIRILLOV,
        params={
            "error": mtbench.Param(
                "volume", choices=("volume", "location"), help="relative error of volume, or distance of centroids"
            ),
            **_MATCHING,
        },
        shorthand="error",
        needs=("predicted_masks", "reference_masks", "candidate"),
        family="segmentation",
        variant=_variant,
        interval="cases",
        bounds=(0.0, math.inf),
    )
    yield mtbench.MetricSpec(
        "changes",
        "mtbench_plugins.metrics.structure_changes:Changes",
        title="Changes",
        description="volume of each structure that only the translation's segmentation has, or only the source's mask",
        params={
            "change": mtbench.Param(
                "added", choices=("added", "removed"), help="what only the translation has, or lacks"
            ),
            "per": _PER,
            "count": mtbench.Param(
                "voxels", choices=("voxels", "components"), help="all voxels, or only whole structures"
            ),
            "overlap": mtbench.Param(
                0.1, minimum=0.0, maximum=1.0, help="components: smallest IoU of the same structure; 0: any voxel"
            ),
        },
        shorthand="change",
        needs=("predicted_masks", "reference_masks", "candidate"),
        family="segmentation",
        variant=_changes_variant,
        interval="cases",
        bounds=(0.0, math.inf),
        answers_to=("masks",),
    )
