"""Synthetic tasks that need no download: a subtle vendor change and a drastic change of modality.

``phantom-breast``: axial fat-suppressed T1 MR of both breasts, from one vendor to another (gain, bias field,
noise, resolution). ``phantom-lumbar``: sagittal T2 MR of the lumbar spine to CT, where no intensity alone separates
bone from its surroundings. ``phantom-lumbar-t1-t2``: the same patients with two source channels. ``phantom-lesions``:
axial FLAIR to T1 of heads with lesions, whose prevalence in either training set is a parameter. All are drawn from
seeded random anatomies and contain no patient data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import mtbench
from mtbench import DatasetSpec, Param

_COMMON: Mapping[str, Param] = {
    "size": Param(256, minimum=32, maximum=1024, help="pixels per side; the field of view stays the same"),
    "patients_source": Param(30, minimum=1, help="source patients: training, validation and test"),
    "patients_target": Param(30, minimum=1, help="target patients, none of them also a source patient"),
    "slices": Param(8, minimum=1, maximum=64, help="slices per patient; the slab stays the same"),
    "seed": Param(0, minimum=0, help="another seed draws other patients"),
}
PARAMS: Mapping[str, Param] = {
    **_COMMON,
    "misalignment": Param(
        None,
        "int",
        minimum=0,
        maximum=16,
        help="pixels by which the truth of training patients is shifted; the data set then has its own split",
    ),
}
LESION_PARAMS: Mapping[str, Param] = {
    **_COMMON,
    "patients_source": Param(40, minimum=1, help="source patients: training, validation and test"),
    "patients_target": Param(40, minimum=1, help="target patients, none of them also a source patient"),
    "slices": Param(12, minimum=1, maximum=64, help="slices per patient; the slab stays the same"),
    **{
        f"prevalence_{domain}": Param(
            0.5, minimum=0.0, maximum=1.0, help=f"share of the {domain}'s training patients who have lesions"
        )
        for domain in ("source", "target")
    },
}


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[DatasetSpec]:
    """The phantom tasks."""
    yield DatasetSpec(
        "phantom-breast",
        "mtbench_plugins.datasets.phantoms.dataset:BreastPhantom",
        params=PARAMS,
        description="synthetic axial breast MR, vendor to vendor (subtle)",
        source="Siemens",
        target="GE",
        labels={1: "breast", 2: "fgt"},
        # The breast is the whole organ, including its fibroglandular tissue.
        regions={"breast": (1, 2), "fgt": (2,)},
        masks=frozenset({"source", "target"}),
        paired=True,
        paired_training=True,
        access="generated",
        obtain="generated in memory; no download",
    )
    for name, cls, channels, what in (
        ("phantom-lumbar", "LumbarPhantom", (), "MR to CT (drastic)"),
        ("phantom-lumbar-t1-t2", "LumbarContrastsPhantom", ("T1", "T2"), "T1 and T2 MR to CT (two source channels)"),
    ):
        yield DatasetSpec(
            name,
            f"mtbench_plugins.datasets.phantoms.dataset:{cls}",
            params=PARAMS,
            description=f"synthetic sagittal lumbar spine, {what}",
            source="MR",
            target="CT",
            channels=channels,
            labels={1: "bone"},
            masks=frozenset({"source", "target"}),
            paired=True,
            paired_training=True,
            access="generated",
            obtain="generated in memory; no download",
        )
    yield DatasetSpec(
        "phantom-lesions",
        "mtbench_plugins.datasets.phantoms.lesion_dataset:LesionPhantom",
        params=LESION_PARAMS,
        description="synthetic axial head with lesions of 5, 10 and 20 mm, FLAIR to T1",
        source="FLAIR",
        target="T1",
        labels={1: "brain", 2: "ventricles", 3: "lesion"},
        # The brain is the whole organ, with its ventricles and lesions.
        regions={"brain": (1, 2, 3), "ventricles": (2,), "lesion": (3,)},
        masks=frozenset({"source", "target"}),
        paired=True,
        paired_training=True,
        access="generated",
        obtain="generated in memory; no download",
        revision="2",
    )
