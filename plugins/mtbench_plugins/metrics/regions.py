"""The common part of metrics on masks: the regions of a task, the cases, and their mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Cases, DataError, ImageSet, MetricInputs, Score, Slice, Task

Per = Literal["slice", "patient"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SliceGroups:
    """Which slices make up each volume or slice, and which of these belong to one reported case.

    Attributes:
        per: the unit of a reported case.
        members: slice positions of each unit that is measured: one slice, or all slices of a case (volume)
            in order of their index.
        patients: the patient of each unit.
        ids: slice id or case id of each unit.
    """

    per: Per
    members: tuple[NDArray[np.int64], ...]
    patients: tuple[str, ...]
    ids: tuple[str, ...]


def groups(images: ImageSet, per: Per) -> SliceGroups:
    """The units that are measured separately: slices, or volumes."""
    slices = images.slices
    if per == "slice":
        return SliceGroups(
            per,
            tuple(np.array([i]) for i in range(len(slices))),
            tuple(s.patient_id for s in slices),
            tuple(s.slice_id for s in slices),
        )
    members: dict[tuple[str, str], list[int]] = {}
    for i, s in enumerate(slices):
        members.setdefault((s.patient_id, s.case_id), []).append(i)
    return SliceGroups(
        per,
        tuple(np.array(sorted(at, key=lambda i: slices[i].index)) for at in members.values()),
        tuple(patient for patient, _ in members),
        tuple(case for _, case in members),
    )


def require_contiguous(metric: str, slices: Sequence[Slice]) -> None:
    """Refuse slices that do not form one volume.

    Raises:
        DataError: there is a gap, or their spacings differ.
    """
    where = f"{metric}, case '{slices[0].case_id}'"
    indices = [s.index for s in slices]
    if indices != list(range(indices[0], indices[0] + len(indices))):
        raise DataError(
            f"its slices are numbers {', '.join(map(str, indices))}",
            where=where,
            expected="a volume without gaps",
            remedy="Use per=slice",
        )
    if len({(s.spacing, s.thickness) for s in slices}) > 1:
        raise DataError("its slices differ in spacing", where=where, remedy="Use per=slice")


def region_masks(inputs: MetricInputs, metric: str) -> Iterator[tuple[str, Mask, Mask]]:
    """Name, predicted and reference mask (N x H x W) of each region of the task.

    Raises:
        DataError: the task has no regions, or masks and slices differ in number or size.
    """
    predicted, reference, candidate = inputs.predicted_masks, inputs.reference_masks, inputs.candidate
    assert predicted is not None
    assert reference is not None
    assert candidate is not None
    if predicted.shape != reference.shape or len(predicted) != len(candidate):
        raise DataError(
            f"predicted masks are {predicted.shape}, reference masks {reference.shape}, and there are "
            f"{len(candidate)} slices",
            where=metric,
            expected="one mask of each kind and of the same size for every slice",
        )
    for (name, found), (_, true) in zip(
        masks_by_region(inputs.task, predicted, metric), masks_by_region(inputs.task, reference, metric), strict=True
    ):
        yield name, found, true


def masks_by_region(task: Task, masks: NDArray[np.uint8], metric: str) -> Iterator[tuple[str, Mask]]:
    """Name and mask of each region of the task, of the shape of the label maps.

    Raises:
        DataError: the task has no regions.
    """
    if not task.regions:
        raise DataError(
            f"the task '{task.dataset}' has no labels",
            where=metric,
            expected="labels or regions declared by its dataset",
        )
    for name, values in task.regions.items():
        inside = np.zeros(256, bool)
        inside[list(values)] = True
        # A table look-up is several times faster than np.isin on uint8.
        yield name, inside[masks]


def mean_score(metric: str, region: str, grouping: SliceGroups, values: Sequence[float], note: str = "") -> Score:
    """The mean over cases that have a value; per patient, a patient's volumes are averaged first.

    Raises:
        DataError: no case has a value.
    """
    numbers = np.asarray(values, np.float64)
    if grouping.per == "slice":
        cases = Cases("slice", grouping.ids, grouping.patients, numbers)
    else:
        names = tuple(dict.fromkeys(grouping.patients))
        owner = np.array(grouping.patients)
        cases = Cases("patient", names, names, np.array([_mean(numbers[owner == name]) for name in names]))
    if np.isnan(cases.values).all():
        raise DataError(
            f"no {grouping.per} has a value for '{region}'" if region else f"no {grouping.per} has a value",
            where=metric,
            expected="at least one case with a mask that is not empty" if region else None,
        )
    return Score(_mean(cases.values), label=region, cases=cases, note=note)


def _mean(values: NDArray[np.float64]) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")
