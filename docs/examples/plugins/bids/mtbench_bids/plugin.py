"""The declaration. What depends on parameters (names of the domains, labels, masks) comes from ``describe``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """The data set ``bids``."""
    yield mtbench.DatasetSpec(
        "bids",
        "mtbench_bids.dataset:Bids",
        params={
            "source": mtbench.Param("T1w", help="suffix of the source images: sub-01_T1w.nii.gz"),
            "target": mtbench.Param("T2w", help="suffix of the target images"),
            "labels": mtbench.Param({}, "table", help="name = value in the segmentations, 1 to 255; none: no masks"),
            "pipeline": mtbench.Param("labels", help="folder below derivatives/ that holds the segmentations"),
            "plane": mtbench.Param("axial", choices=("axial", "coronal", "sagittal"), help="how volumes are cut"),
            "size": mtbench.Param(256, minimum=8, help="height and width of the prepared images"),
        },
        describe=describe,
        needs_root=True,
        access="private",
        obtain="Your own data in BIDS layout (https://bids-specification.readthedocs.io)",
        description="NIfTI volumes in BIDS layout, with segmentations as derivatives",
    )


def describe(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the task that depend on the parameters."""
    labels = {int(value): str(name) for name, value in params["labels"].items()}
    masks = frozenset({"source", "target"}) if labels else frozenset()
    return {"source": params["source"], "target": params["target"], "labels": labels, "masks": masks}
