"""Paired tasks: source slices with a ground truth in the target domain in every split.

A target slice that names its partner is also stored as the ground truth of that source slice. Unusable pairs are
skipped and listed. The two slices of a pair are always in the same split.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mtbench.compute.seeds import generator
from mtbench.data import ImageSet, Sample, Slice, Task
from mtbench.errors import DataError
from mtbench.formats import Geometry
from mtbench.stages.people import share

_SPACING = 0.01
"""Largest relative difference of the pixel spacings of a pair."""


def truth_of(sample: Sample, task: Task) -> Sample | None:
    """The ground truth of the partner of a target sample; ``None`` without a partner."""
    if not task.paired or sample.domain != "target" or not sample.slice.partner:
        return None
    record = replace(sample.slice, slice_id=sample.slice.partner, partner="")
    return replace(sample, domain="paired", slice=record, mask=sample.mask if "paired" in task.masks else None)


def unusable(sources: Sequence[Slice], truths: Sequence[Slice]) -> dict[str, str]:
    """By slice id, why a source slice or a ground truth is unusable in a paired task."""
    of = {record.slice_id: record for record in truths}
    reasons = {}
    for record in sources:
        truth = of.pop(record.slice_id, None)
        if reason := "its partner in the target domain is missing" if truth is None else _apart(record, truth):
            reasons[record.slice_id] = reason
    return {**reasons, **dict.fromkeys(of, "its partner in the source domain is missing")}


def _apart(source: Slice, truth: Slice) -> str:
    """How the geometry of a source slice and its ground truth differs; empty if it agrees or is not known."""
    if source.spacing and truth.spacing and not np.allclose(source.spacing, truth.spacing, rtol=_SPACING):
        one, other = (" x ".join(f"{mm:g}" for mm in record.spacing or ()) for record in (source, truth))
        return f"its pixels are {one} mm and those of its partner {other} mm"
    if not source.geometry or not truth.geometry:
        return ""
    one_place, other_place = (Geometry.from_json(record.geometry).place() for record in (source, truth))
    distance = float(np.linalg.norm(one_place[:, 2] - other_place[:, 2]))
    pixel = np.abs(one_place[:, :2]).max()
    if not np.allclose(one_place[:, :2], other_place[:, :2], atol=_SPACING * pixel) or distance > pixel / 2:
        return f"its position differs from that of its partner ({distance:.3g} mm between their first pixels)"
    return ""


def check_splits(targets: Sequence[Slice], splits: Sequence[str], sources: Mapping[str, str], where: str) -> None:
    """Refuse a pair in two splits; ``sources`` are the splits of the source slices by id.

    Raises:
        DataError: a pair is in two splits.
    """
    for record, split in zip(targets, splits, strict=True):
        other = sources.get(record.partner, "")
        if split and other and split != other:
            raise DataError(
                f"the target slice '{record.slice_id}' is in the {split} split and its partner '{record.partner}' in "
                f"the {other} split",
                where=where,
                expected="both slices of a pair in the same split",
                remedy="Give both slices of a pair the same patient, and do not set split.same_people = false",
            )


def unpaired(images: ImageSet, seed: int) -> ImageSet:
    """Slices that name partners in a random order without these names, for unpaired translators; others as they are."""
    if not any(record.partner for record in images.slices):
        return images
    mixed = images.subset(generator("apart", seed, images.domain, images.split).permutation(len(images)))
    return replace(mixed, slices=tuple(replace(record, partner="") for record in mixed.slices))


def some_patients(patients: Iterable[str], seed: int, *, fraction: float = 1.0, count: int = 0) -> set[str]:
    """A fraction of the training patients, but at least one and at most ``count`` (0: no limit), drawn by ``seed``.

    Fewer patients are among those of a larger fraction or count.
    """
    order = sorted(set(patients), key=lambda patient: float(generator("registered", seed, patient).random()))
    return set(order[: min(share(len(order), fraction), count or len(order))])


def of_patients(images: ImageSet, patients: Container[str], sources: ImageSet) -> ImageSet:
    """The slices of ``images`` that show a slice of ``sources`` of one of ``patients``, matched by slice id."""
    wanted = {record.slice_id for record in sources.slices if record.patient_id in patients}
    return images.subset([i for i, record in enumerate(images.slices) if record.slice_id in wanted])
