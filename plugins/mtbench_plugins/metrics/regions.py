"""The common part of metrics on slices and volumes: what a case is, its geometry, its regions, and the mean of cases.

``per`` says what a case is, in every metric that has it:

- "slice": a slice;
- "volume": an examination, that is, all slices of one ``case_id`` of a patient, in the order of their index;
- "patient": a patient, whose value is the mean over the patient's volumes.

Volumes are formed one at a time from arrays that are mapped into memory, so the memory needed is that of the largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Cases, DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.ledger import among
from mtbench.memory import require_memory

Per = Literal["slice", "volume", "patient"]
Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]
Spacing = tuple[float, ...]
"""Of each axis, in mm: rows and columns of a slice; slices, rows and columns of a volume."""

SAME = 0.01
"""Largest relative difference of spacings that count as equal."""


@dataclass(frozen=True)
class SliceGroups:
    """Which slices make up each volume or slice, and which of these belong to one reported case.

    Attributes:
        per: the unit of a reported case.
        members: slice positions of each unit that is measured: one slice, or all slices of a volume in the order of
            their index.
        patients: the patient of each unit.
        ids: slice id or case id of each unit; "PATIENT/CASE" if patients share case ids.
        incomplete: how many volumes lack a slice between their first and last.
    """

    per: Per
    members: tuple[Positions, ...]
    patients: tuple[str, ...]
    ids: tuple[str, ...]
    incomplete: int = 0

    def note(self) -> str:
        """The volumes that are not complete, for a score's note; empty if all are."""
        return f"{self.incomplete} of {len(self.members)} volumes lack slices" if self.incomplete else ""


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
    ordered = tuple(np.array(sorted(at, key=lambda i: slices[i].index)) for at in members.values())
    cases = [case for _, case in members]
    return SliceGroups(
        per,
        ordered,
        tuple(patient for patient, _ in members),
        tuple(cases if len(set(cases)) == len(cases) else ("/".join(pair) for pair in members)),
        sum(not _contiguous([slices[i] for i in at]) for at in ordered),
    )


def _contiguous(slices: Sequence[Slice]) -> bool:
    return [s.index for s in slices] == list(range(slices[0].index, slices[0].index + len(slices)))


def require_contiguous(metric: str, slices: Sequence[Slice]) -> None:
    """Refuse slices that do not form one volume.

    Raises:
        DataError: there is a gap, or their spacings differ.
    """
    where = f"{metric}, case '{slices[0].case_id}'"
    if not _contiguous(slices):
        raise DataError(
            f"its slices are numbers {', '.join(str(s.index) for s in slices)}",
            where=where,
            expected="a volume without gaps",
            remedy="Use per=slice",
        )
    if len({(s.spacing, s.thickness) for s in slices}) > 1:
        raise DataError("its slices differ in spacing", where=where, remedy="Use per=slice")


def require_memory_for_volume(metric: str, members: Positions, size: tuple[int, int], each: int) -> None:
    """Refuse a volume that needs more memory than is free, before it is read.

    Args:
        metric: for messages.
        members: its slices; one alone is not checked.
        size: of a slice.
        each: bytes for each voxel, at the peak.

    Raises:
        DataError: it does.
    """
    if len(members) == 1:
        return
    volume = f"{metric}, a volume of {len(members)} slices of {size[0]} x {size[1]}"
    require_memory(len(members) * size[0] * size[1] * each, volume, remedy="Use per=slice, or free memory")


def volume_spacing(metric: str, slices: Sequence[Slice]) -> Spacing:
    """The spacing of a volume's voxels in mm: between slices, rows and columns.

    Raises:
        DataError: there is a gap, or a spacing differs or is unknown.
    """
    require_contiguous(metric, slices)
    first, where = slices[0], f"{metric}, case '{slices[0].case_id}'"
    if first.spacing is None:
        raise DataError("the spacing of its pixels is not known", where=where, remedy="Use per=slice")
    if first.thickness is None:
        raise DataError("the distance between its slices is not known", where=where, remedy="Use per=slice")
    return (first.thickness, *first.spacing)


def region_masks(
    inputs: MetricInputs, metric: str, members: slice | Positions = slice(None)
) -> Iterator[tuple[str, Mask, Mask]]:
    """Name, predicted and reference mask (N x H x W) of each region of the task.

    Args:
        inputs: with masks.
        metric: for messages.
        members: the slices; all by default. Only their masks are read.

    Raises:
        DataError: the task has no regions, masks hold a value that is no label, or masks and slices differ in number
            or size.
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
        masks_by_region(inputs.task, predicted[members], metric),
        masks_by_region(inputs.task, reference[members], metric),
        strict=True,
    ):
        yield name, found, true


def regions_of(task: Task, metric: str) -> tuple[str, ...]:
    """The names of the task's regions.

    Raises:
        DataError: the task has none.
    """
    if not task.regions:
        raise DataError(
            f"the task '{task.dataset}' has no labels",
            where=metric,
            expected="labels or regions declared by its dataset",
        )
    return tuple(task.regions)


def masks_by_region(task: Task, masks: NDArray[np.uint8], metric: str) -> Iterator[tuple[str, Mask]]:
    """Name and mask of each region of the task, of the shape of the label maps.

    Raises:
        DataError: the task has no regions, or a mask holds a value that is no label.
    """
    regions_of(task, metric)
    # Slice by slice, because counting converts its input to eight bytes a pixel.
    counts = sum((np.bincount(mask.ravel(), minlength=256) for mask in masks), np.zeros(256, np.int64))
    known = {0, *task.labels, *(value for values in task.regions.values() for value in values)}
    if unknown := [value for value in np.flatnonzero(counts).tolist() if value not in known]:
        labels = ", ".join(f"{value} ({name})" for value, name in task.labels.items()) or sorted(known - {0})
        raise DataError(
            f"a mask holds the value {unknown[0]}, in {counts[unknown[0]]} pixels",
            where=metric,
            expected=f"0 or a label of the task '{task.dataset}': {labels}",
            remedy="Add the label to the data set, or correct the masks",
        )
    for name, values in task.regions.items():
        yield name, among(values)[masks]


def mean_score(metric: str, region: str, grouping: SliceGroups, values: Sequence[float], note: str = "") -> Score:
    """The mean over cases that have a value; per patient, a patient's volumes are averaged first.

    Volumes that lack slices are counted in the note.

    Raises:
        DataError: no case has a value.
    """
    numbers = np.asarray(values, np.float64)
    if grouping.per != "patient":
        cases = Cases(grouping.per, grouping.ids, grouping.patients, numbers)
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
    notes = "; ".join(text for text in (note, grouping.note()) if text)
    return Score(_mean(cases.values), label=region, cases=cases, note=notes)


def _mean(values: NDArray[np.float64]) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else float("nan")
