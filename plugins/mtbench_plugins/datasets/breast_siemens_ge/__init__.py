"""``breast-siemens-ge``: pre-contrast breast MR, Siemens to GE, from Duke-Breast-Cancer-MRI as TCIA distributes it.

Images: Saha et al., The Cancer Imaging Archive, 2021, doi:10.7937/TCIA.e3sv-re93. Masks of breast, vessels and
fibroglandular tissue (FGT) of 100 patients: Lew et al., Scientific Reports 14, 2024.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

TCIA = "https://www.cancerimagingarchive.net/collection/duke-breast-cancer-mri/"
OBTAIN = (
    f"From {TCIA}: the images by the NBIA Data Retriever with descriptive folder names (at least the pre-contrast "
    "series of the 100 patients that have masks), the zip file with Segmentation_Masks_NRRD, and the spreadsheets "
    "Clinical_and_Other_Features.xlsx and Breast-Cancer-MRI-filepath_filename-mapping.xlsx. Unpack all into one folder"
)

UNVERIFIED = (
    (
        "Not tested on real spreadsheets, DICOM files or .seg.nrrd files of the collection: layouts, header names "
        "and orientation follow their descriptions and published readers."
    ),
    (
        "The published validation and test patients are not known; the published counts probably, but not "
        "certainly, belong to the same 70/15/15 patients."
    ),
    "Whether the .seg.nrrd headers agree with the DICOM headers is not known (if not: masks_by = 'index').",
    (
        "The percentiles 0.1 and 99.9 follow the reader published with the masks; the publication does not say how "
        "its 8-bit images were scaled."
    ),
)


def describe(params: Mapping[str, Any]) -> dict[str, Any]:
    """A note for every table, unless the split file names the validation and test patients."""
    if params.get("split"):
        return {}
    return {
        "note": (
            "Training patients as published; validation and test patients drawn by seed from the other 30, "
            "because the published lists are not available (params.split takes a file)."
        )
    }


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """The breast task."""
    yield mtbench.DatasetSpec(
        "breast-siemens-ge",
        "mtbench_plugins.datasets.breast_siemens_ge.dataset:BreastSiemensGe",
        description="axial pre-contrast breast MR, Siemens to GE (subtle)",
        revision="1 (70 published training patients)",
        source="Siemens",
        target="GE",
        labels={1: "breast", 2: "fgt"},
        # The breast is the whole organ, including its fibroglandular tissue.
        regions={"breast": (1, 2), "fgt": (2,)},
        masks=frozenset({"source", "target"}),
        params={
            "size": mtbench.Param(256, minimum=8, help="height and width of the prepared images"),
            "percentiles": mtbench.Param([0.1, 99.9], help="percentiles of a patient's values that become 0 and 255"),
            "split": mtbench.Param(kind="path", help="CSV with the columns patient and split, for all patients"),
            "masks_by": mtbench.Param(
                "header",
                choices=("header", "index"),
                help="header: masks are placed by their header; index: voxel (i, j, k) is column i, row j, slice k",
            ),
        },
        describe=describe,
        needs_root=True,
        access="open",
        licence="CC BY-NC 4.0",
        citation="Saha et al. 2021, doi:10.7937/TCIA.e3sv-re93; masks: Lew et al., Sci Rep 14, 2024",
        obtain=OBTAIN,
        size="about 370 GB for all 922 patients and series; the pre-contrast series of the 100 are a fraction of that",
        published={
            "source": {"train": 4096, "validation": 432, "test": 688},
            "target": {"train": 7900, "validation": 1978, "test": 1890},
        },
        unverified=UNVERIFIED,
    )
