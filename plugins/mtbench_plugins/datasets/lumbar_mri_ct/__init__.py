"""``lumbar-mri-ct``: sagittal lumbar spine, MR (your own) to CT (TotalSegmentator).

The MR of the publication is private; use any folder of lumbar MR with bone masks in its place. Target: Wasserthal et
al., Radiology: Artificial Intelligence 5, 2023; data set doi:10.5281/zenodo.6802613.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

STRUCTURES = ("vertebrae", "bodies")
OBTAIN = (
    "CT: TotalSegmentator v1 or v2 from https://doi.org/10.5281/zenodo.6802613 (all versions; v1 is "
    "10.5281/zenodo.6802614), unpacked below the root (s0000/ct.nii.gz, s0000/segmentations/*.nii.gz, meta.csv). "
    "MR: your own lumbar volumes or slices in mr/images with bone masks of the same names in mr/masks (NIfTI, DICOM "
    "folders or PNG)"
)
UNVERIFIED = (
    (
        "Tested on one resampled subject in the v1 layout; meta.csv of v1 and v2, sacrum masks and full-resolution "
        "volumes follow their descriptions only."
    ),
    "The subjects, window and slice selection of the publication are not known.",
    "MR volumes as DICOM series with masks: tested on synthetic files only.",
)


def describe(params: Mapping[str, Any]) -> dict[str, Any]:
    """A note for every table if "bone" means different things in the two domains."""
    source, target = params["source_structure"], params["target_structure"]
    if source == target:
        return {}
    meant = {"vertebrae": "whole vertebrae", "bodies": "vertebral bodies"}
    if source not in meant:
        return {
            "note": (
                "The suite does not say what the MR masks show (params.source_structure); the CT masks show "
                f"{meant[target]}. If these differ, Dice cannot reach 1 even for a perfect translation."
            )
        }
    return {
        "note": f"Bone means {meant[source]} in the MR masks and {meant[target]} in the CT masks: Dice cannot reach 1, "
        "even for a perfect translation."
    }


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """The lumbar task."""
    yield mtbench.DatasetSpec(
        "lumbar-mri-ct",
        "mtbench_plugins.datasets.lumbar_mri_ct.dataset:LumbarMriCt",
        description="sagittal lumbar spine, MR to CT (drastic)",
        revision="1",
        source="MR",
        target="CT",
        labels={1: "bone"},
        masks=frozenset({"source", "target"}),
        params={
            "source": mtbench.Param(
                {}, help="the MR side, with the keys of the dataset 'folder': images, masks, patient or table, ..."
            ),
            "ct": mtbench.Param("", help="folder of TotalSegmentator below the root; found automatically by default"),
            "levels": mtbench.Param(["L1", "L2", "L3", "L4", "L5"], help="vertebrae of the CT that count as bone"),
            "sacrum": mtbench.Param(False, help="whether the sacrum counts as bone in the CT"),
            "source_structure": mtbench.Param(
                "unknown", choices=(*STRUCTURES, "unknown"), help="what the MR masks show: whole vertebrae or bodies"
            ),
            "target_structure": mtbench.Param("vertebrae", choices=STRUCTURES, help="what the CT masks show"),
            "target_masks": mtbench.Param(
                [], help="your own masks of the CT in place of TotalSegmentator's: patterns below a subject's folder"
            ),
            "leave_out": mtbench.Param([], help="CT subjects to exclude, such as those with wrong masks"),
            "window": mtbench.Param([-200, 800], help="HU that become 0 and 255"),
            "min_area": mtbench.Param(1, minimum=0, help="keep slices whose mask has at least that many pixels"),
            "crop": mtbench.Param([0, 1, 0, 1], help="part of the CT used: top, bottom, left, right, as fractions"),
            "resize": mtbench.Param("plain", choices=("plain", "spacing"), help="to size x size, or by millimetres"),
            "size": mtbench.Param(256, minimum=8, help="height and width of the prepared images"),
            "mm": mtbench.Param(kind="float", minimum=0.01, help="millimetres per pixel for resize = spacing"),
        },
        describe=describe,
        needs_root=True,
        access="open",
        licence="CT: CC BY 4.0 (metadata of v2.0.0: CC BY-NC-SA 4.0). MR: your own terms",
        citation="Wasserthal et al., Radiology: Artificial Intelligence 5, 2023, doi:10.1148/ryai.230024",
        obtain=OBTAIN,
        size="CT: about 24 GB (v2)",
        published={
            "source": {"train": 495, "validation": 175, "test": 158},
            "target": {"train": 1466, "validation": 409, "test": 458},
        },
        unverified=UNVERIFIED,
    )
