"""``synthrad2023`` and ``synthrad2025``: MR or CBCT to CT of one patient, from the archives of the two challenges.

Data: Thummerer et al., Medical Physics 50, 2023, doi:10.1002/mp.16529 (2023), and arXiv:2502.17609 (2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench

SOURCES = {1: "MR", 2: "CBCT"}
"""The source of each task of the challenges; the target is CT."""
CT_RANGE = (-1024, 3071)
"""In HU: the range of the challenge's evaluation (SynthRAD2025/evaluation, ``image_metrics.py``)."""
OBTAIN = {
    year: f"Unpack the archives of https://doi.org/10.5281/{record} so that the root, or a folder in it, holds "
    f"Task1/{case}/mr{ending}, ct{ending} and mask{ending} (Task2: cbct{ending} in place of mr{ending})"
    for year, record, case, ending in (
        (2023, "zenodo.7260705", "pelvis/1PA001", ".nii.gz"),
        (2025, "zenodo.15373853", "AB/1ABA005", ".mha"),
    )
}
NOTE = (
    "Unofficial splits of the public cases of SynthRAD{year}: the truth of the challenge's validation and test cases "
    "is hidden. The scores are not comparable with its leaderboard."
)
UNVERIFIED = (
    "Tested on small replicas of the layout, not on the archives.",
    "Each case counts as a patient; whether two cases show the same patient is not known.",
    "The challenge does not define a normalisation of MR; percentiles are the choice of mtbench.",
)


def _params(regions: tuple[str, ...], region: str) -> Mapping[str, mtbench.Param]:
    return {
        "task": mtbench.Param(1, choices=(1, 2), help="1: MR to CT; 2: CBCT to CT"),
        "region": mtbench.Param(region, choices=regions, help="the folder of the region in the archive"),
        "size": mtbench.Param(256, minimum=8, help="height and width of the prepared slices"),
        "mm": mtbench.Param(
            kind="float", minimum=0.01, help="millimetres per pixel (default: 1 for brain, 2 for other regions)"
        ),
        "every": mtbench.Param(1, minimum=1, help="keep every n-th axial slice that shows the body"),
        "window": mtbench.Param(list(CT_RANGE), help="HU of CT and CBCT that become black and white"),
        "percentiles": mtbench.Param([0.5, 99.5], help="of each MR volume, that become black and white"),
    }


def _describe(year: int) -> Any:
    def describe(params: Mapping[str, Any]) -> dict[str, Any]:
        return {"source": SOURCES[params["task"]], "note": NOTE.format(year=year)}

    return describe


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """The data sets of both challenges."""
    shared: dict[str, Any] = {
        "revision": "1",
        "source": "MR",
        "target": "CT",
        "labels": {1: "body"},
        "masks": frozenset({"source", "target", "paired"}),
        "paired": True,
        "paired_training": True,
        "needs_root": True,
        "depth": "uint16",
        "access": "open",
    }
    yield mtbench.DatasetSpec(
        "synthrad2023",
        "mtbench_plugins.datasets.synthrad.dataset:Synthrad2023",
        description="axial brain or pelvis, MR or CBCT to CT, paired (radiotherapy)",
        params=_params(("brain", "pelvis"), "pelvis"),
        describe=_describe(2023),
        licence="CC BY-NC 4.0",
        citation="Thummerer et al., Medical Physics 50, 2023, doi:10.1002/mp.16529",
        obtain=OBTAIN[2023],
        unverified=(
            *UNVERIFIED,
            "The licence is that of the record's description; it was not compared with the archives.",
            "Whether CT values exceed 3071 HU is not known; the window clips them.",
        ),
        **shared,
    )
    yield mtbench.DatasetSpec(
        "synthrad2025",
        "mtbench_plugins.datasets.synthrad.dataset:Synthrad2025",
        description="axial abdomen, head and neck or thorax, MR or CBCT to CT, paired (radiotherapy)",
        params=_params(("AB", "HN", "TH"), "AB"),
        describe=_describe(2025),
        licence="CC BY-NC 4.0",
        citation="Thummerer et al., 2025, arXiv:2502.17609",
        obtain=OBTAIN[2025],
        size="Task 1: about 15 GB",
        unverified=(
            *UNVERIFIED,
            "The layout of the archive of centre D, which is published separately, is not known.",
        ),
        **shared,
    )
