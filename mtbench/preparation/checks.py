"""Checks before trusting a prepared data set: counts, leaks, masks, intensities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mtbench.data import SPLITS, Domain, ImageSet, decode
from mtbench.preparation.request import PreparedDataset
from mtbench.stages.table import Subset
from mtbench.stages.work import read_set

DOMAINS: tuple[Domain, ...] = ("source", "target")
_EXAMPLES = 5


@dataclass(frozen=True)
class Count:
    """Slices and patients of one domain and split; ``published`` if the publication states a count."""

    domain: str
    name: str
    split: str
    slices: int
    patients: int
    published: int | None


@dataclass
class CheckReport:
    """The findings.

    Attributes:
        counts: by domain and split.
        leaks: reasons for scores that are too good; one sentence each.
        remarks: findings that may be correct but should be checked.
        left_out: unusable cases, with the reason.
        notes: of the preparation.
    """

    counts: list[Count] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def image_sets(prepared: PreparedDataset) -> Iterator[ImageSet]:
    """The slices of both domains, split by split."""
    assert prepared.split is not None
    for domain in DOMAINS:
        for split in SPLITS:
            yield read_set(prepared.data, prepared.split, prepared.request.task, Subset(domain, split))


def check(prepared: PreparedDataset) -> CheckReport:
    """Count and check everything; each pixel is read once."""
    info = prepared.data.info
    report = CheckReport(left_out=list(info.get("left_out", ())))
    report.notes = [note for note in info.get("notes", ()) if not note.startswith("skipped: ")]
    if prepared.split is None:
        report.leaks.append(f"The patients cannot be divided: {prepared.trouble}")
        return report
    published = prepared.request.choice.spec.published
    observations = _Observations()
    for images in image_sets(prepared):
        name = images.task.source if images.domain == "source" else images.task.target
        expected = published.get(images.domain, {}).get(images.split)
        patients = len(set(images.patients))
        report.counts.append(Count(images.domain, name, images.split, len(images), patients, expected))
        report.remarks += observations.add(images)
    # A demonstration split divides a patient on purpose, and every table says so.
    demo = prepared.split.info.get("by") == "demo"
    findings = report.remarks if demo else report.leaks
    for domain in DOMAINS:
        report.remarks += _outliers(observations.brightness[domain], domain)
        findings += [
            f"The {domain} patient '{patient}' is in {len(patient_splits)} splits: {', '.join(sorted(patient_splits))}"
            + (", because of split = 'demo': not a result" if demo else ".")
            for patient, patient_splits in sorted(observations.splits[domain].items())
            if len(patient_splits) > 1
        ]
    _report_repeats(observations.images, report)
    options = prepared.request.builder.split
    if options.fold is not None:
        report.remarks.append(
            f"splits are those of fold {options.fold} of {options.folds}; each patient is tested in one fold"
        )
    remark = prepared.split.info.get("remark")
    report.remarks += [remark] if remark else []
    _report_shared_patients(observations.splits, report, apart=bool(prepared.split.info.get("shared")))
    return report


class _Observations:
    """The data of the checks: images by digest, the splits of each patient, the brightness of each slice."""

    def __init__(self) -> None:
        self.images: dict[str, list[tuple[str, str, str, str]]] = {}
        self.splits: dict[str, dict[str, set[str]]] = {domain: {} for domain in DOMAINS}
        self.brightness: dict[str, list[tuple[float, str]]] = {domain: [] for domain in DOMAINS}

    def add(self, images: ImageSet) -> Iterator[str]:
        """Check the slices of one domain and split; returns remarks."""
        domain, split = images.domain, images.split
        for patient in images.patients:
            self.splits[domain].setdefault(patient, set()).add(split)
        flat = []
        for image, record in zip(images.images, images.slices, strict=True):
            if image.min() == image.max():
                flat.append(record.slice_id)
                continue
            digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
            places = self.images.setdefault(digest, [])
            # A target slice that is the truth of its partner is stored as both.
            if domain != "paired" or not any(of == "target" for of, *_ in places):
                places.append((domain, split, record.patient_id, record.slice_id))
            self.brightness[domain].append((float(decode(image).mean()), record.slice_id))
        if flat:
            yield f"{_of(domain, split)}: {_some(flat, 'slice')} of one grey level"
        if images.masks is not None:
            yield from _masks(images, _of(domain, split))


def _masks(images: ImageSet, where: str) -> Iterator[str]:
    assert images.masks is not None
    values_of_masks = [{int(v) for v in np.unique(mask)} - {0} for mask in images.masks]
    empty = sum(not values for values in values_of_masks)
    if empty:
        yield f"{where}: {empty} of {len(images)} masks are empty"
    for value, name in images.task.labels.items():
        # A case without any pixel of a label more often has a wrong mask than lacks the organ.
        cases: dict[str, bool] = {}
        for record, values in zip(images.slices, values_of_masks, strict=True):
            cases[record.case_id] = cases.get(record.case_id, False) or value in values
        without = [case for case, occurs in cases.items() if not occurs]
        if without:
            yield f"{where}: {_some(without, 'case')} without '{name}'"


def _outliers(means: list[tuple[float, str]], domain: str) -> Iterator[str]:
    """Slices much brighter or darker than the others of their domain: 8 median absolute deviations and 0.1 of white."""
    if len(means) < 8:
        return
    values = np.array([mean for mean, _ in means])
    middle = float(np.median(values))
    limit = max(8 * float(np.median(np.abs(values - middle))), 0.1)
    outliers = [name for mean, name in means if abs(mean - middle) > limit]
    if outliers:
        yield f"{domain}: {_some(outliers, 'slice')} much brighter or darker than the others"


def _report_repeats(occurrences: dict[str, list[tuple[str, str, str, str]]], report: CheckReport) -> None:
    within, across = [], []
    for places in occurrences.values():
        if len(places) < 2:
            continue
        owners = {(domain, patient) for domain, _, patient, _ in places}
        if len(owners) == 1:
            within.append(places[0][3])
            continue
        (domain, split, _, first), (other_domain, other_split, _, second) = places[0], places[-1]
        across.append(f"{_of(domain, split)} '{first}' = {_of(other_domain, other_split)} '{second}'")
    if across:
        examples = "; ".join(across[:_EXAMPLES]) + ("; ..." if len(across) > _EXAMPLES else "")
        report.leaks.append(f"{len(across)} image(s) under the ids of several patients or domains: {examples}.")
    if within:
        report.remarks.append(f"{_some(within, 'image')} repeated within one patient")


def _report_shared_patients(splits: dict[str, dict[str, set[str]]], report: CheckReport, *, apart: bool) -> None:
    ids = sorted(set(splits["source"]) & set(splits["target"]))
    if not ids or apart:
        return
    report.remarks.append(
        f"{_some(ids, 'patient id')} in both domains, treated as different people; if they are the same:"
    )
    crossed = [p for p in ids if splits["source"][p] != splits["target"][p]]
    if crossed:
        report.remarks.append(f"{_some(crossed, 'patient id')} in one split as source and in another as target")
    training = [p for p in ids if "train" in splits["source"][p] and "train" in splits["target"][p]]
    if training:
        report.remarks.append(
            f"{_some(training, 'patient id')} in the training split of both domains, so training is not unpaired: "
            "declare them the same people (split.same_people), or separate them by a split file"
        )


def _of(domain: str, split: str) -> str:
    return f"{domain} {split}"


def _some(names: list[str], noun: str) -> str:
    examples = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {noun}{'s' if len(names) != 1 else ''} ({examples})"


def as_json(report: CheckReport) -> dict[str, Any]:
    """The report as plain values."""
    return {**vars(report), "counts": [vars(count) for count in report.counts]}
