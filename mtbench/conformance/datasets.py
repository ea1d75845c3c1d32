"""Checks of data sets, on all of their images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mtbench.conformance import general
from mtbench.conformance.subject import Subject
from mtbench.conformance.surroundings import disturb
from mtbench.conformance.trying import works_or_refuses
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.data import DOMAINS, Domain, ImageSet, Task
from mtbench.preparation.sheets import contact_sheet
from mtbench.registry.contracts import FileListing
from mtbench.stages import prepare
from mtbench.stages.table import PrepareOptions
from mtbench.stages.unit import Unit
from mtbench.stages.work import Work
from mtbench.store.images import read_slices

LEAST = 8
"""Number of patients per domain below which a split is hardly meaningful."""


def task(subject: Subject) -> Task:
    """The task of the data set."""
    result: Task = subject.of.ask(subject.spec.task, subject.params, subject.spec.name)
    return result


def _prepared(subject: Subject, root: str) -> Path:
    folder, about = subject.folder(), task(subject)
    paths = {"root": root} if root else {}
    unit = Unit("", "", "prepare", subject.spec.name, about, PrepareOptions(), "dataset", subject.spec.name)
    unit = Unit(**{**vars(unit), "params": subject.params, "paths": paths})
    work: Work[Any, Any] = Work(unit, PrepareOptions(), {}, subject.of, subject.context(partial=subject.folder()))
    with subject.watched("prepare()"):
        prepare.run(work, folder)
    return folder


def prepared(subject: Subject) -> str:
    """Every sample is usable."""
    if subject.spec.needs_root and not subject.question.root:
        raise UntriedError("it reads files: name their folder with --root FOLDER")
    before = _state(subject.question.root)
    folder = subject.kept["folder"] = _prepared(subject, subject.question.root)
    if before != _state(subject.question.root):
        raise FailedError("prepare() changes files below the root", "Write to context.scratch or context.partial")
    sets = list(sets_of(subject, folder))
    return ", ".join(f"{len(s)} {s.domain} slices of {len(set(s.patients))} patients" for s in sets)


def _state(root: str) -> list[tuple[str, int, int]]:
    files = sorted(path for path in Path(root).rglob("*") if path.is_file()) if root else []
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def sets_of(subject: Subject, folder: Path) -> Iterator[ImageSet]:
    """The prepared slices by domain."""
    domain: Domain
    for domain in DOMAINS:
        if not (folder / f"images-{domain}.npy").exists():
            continue
        images = np.load(folder / f"images-{domain}.npy", mmap_mode="r")
        masks = folder / f"masks-{domain}.npy"
        read = np.load(masks, mmap_mode="r") if masks.exists() else None
        yield ImageSet(images, tuple(read_slices(folder, domain)), read, task(subject), domain, "test")


def determinism(subject: Subject) -> str:
    """Preparing twice gives the same images in the same order."""
    disturb(2)
    again = _prepared(subject, subject.question.root)
    for one, other in zip(sets_of(subject, subject.kept["folder"]), sets_of(subject, again), strict=True):
        if one.slices != other.slices:
            raise FailedError(
                f"two preparations give different {one.domain} slices, or another order", "Sort files by name"
            )
        if not np.array_equal(one.images, other.images):
            raise FailedError(f"two preparations give different {one.domain} images", "Draw from context.rng(...)")
    return "equal bit for bit"


def leaks(subject: Subject) -> str:
    """No patient, examination or image is in two splits."""
    sides: dict[str, set[str]] = {}
    cases: dict[str, str] = {}
    comments = []
    for images in sets_of(subject, subject.kept["folder"]):
        if images.domain == "paired":
            continue  # The paired domain shows the source's patients by design.
        seen: dict[bytes, str] = {}
        for position, record in enumerate(images.slices):
            if record.split:
                sides.setdefault(record.patient_id, set()).add(record.split)
            owner = cases.setdefault(f"{images.domain} {record.case_id}", record.patient_id)
            if owner != record.patient_id:
                raise FailedError(
                    f"the case '{record.case_id}' belongs to the patients '{owner}' and '{record.patient_id}'",
                    "Give each slice the patient_id of the person: splits are by patient_id",
                )
            pixels = np.asarray(images.images[position])
            name = hashlib.sha256(pixels.tobytes()).digest()
            other = seen.setdefault(name, record.patient_id)
            if other != record.patient_id and pixels.min() != pixels.max():
                raise FailedError(
                    f"the patients '{other}' and '{record.patient_id}' have an image in common ({record.slice_id})",
                    "Give both the same patient_id, or omit one of them: otherwise the image can be in two splits",
                )
        patients = set(images.patients)
        if len(patients) == len(images) > 2 * LEAST:
            comments.append(f"each {images.domain} slice is a separate patient: is that correct?")
        elif len(patients) < LEAST:
            comments.append(f"{len(patients)} {images.domain} patients are few")
    for patient, found in sides.items():
        if len(found) > 1:
            raise FailedError(
                f"the data set's own split puts the patient '{patient}' into {' and '.join(sorted(found))}",
                "Split by patient, or leave Slice.split empty",
            )
    return "; ".join(comments) or "no patient and no image is in two splits"


def masks(subject: Subject) -> str:
    """Every label occurs, and a mask is not the image."""
    about, comments = task(subject), []
    if not about.masks:
        raise UntriedError("it has no masks")
    for images in sets_of(subject, subject.kept["folder"]):
        if images.masks is None:
            continue
        counts = np.bincount(np.asarray(images.masks).ravel(), minlength=256)
        absent = [name for label, name in about.labels.items() if not counts[label]]
        if absent:
            raise FailedError(
                f"no {images.domain} mask holds '{absent[0]}'", "Correct the table of labels, or the reading of masks"
            )
        empty = float((~np.asarray(images.masks).reshape(len(images), -1).any(axis=1)).mean())
        comments.append(f"{images.domain}: {empty:.0%} of the slices without any label")
    return "; ".join(comments)


def sizes(subject: Subject) -> str:
    """The images are large enough for networks, and use the stored range."""
    comments = []
    for images in sets_of(subject, subject.kept["folder"]):
        height, width = images.size
        low, high = (float(end) for end in (images.floats().min(), images.floats().max()))
        if high - low < 0.05:
            raise FailedError(
                f"all {images.domain} images lie between {low:.3g} and {high:.3g}",
                "Scale them to [0, 1] by the window of the modality",
            )
        unknown = sum(record.spacing is None for record in images.slices)
        about = f", {unknown} of {len(images)} without spacing" if unknown else ""
        several = f"{images.channels} channels of " if images.channels > 1 else ""
        comments.append(f"{images.domain} {several}{height} x {width}, {low:.2g} to {high:.2g}{about}")
    return "; ".join(comments)


def empty(subject: Subject) -> str:
    """An empty folder is an error with a reason."""
    if not subject.spec.needs_root:
        raise UntriedError("it reads no files")
    fix = "List files with root.glob(...), and raise a mtbench.DataError if required files are missing"
    found = works_or_refuses(lambda: _prepared(subject, str(subject.folder())), "an empty folder", fix)
    if not isinstance(found, str):
        raise FailedError("an empty folder gives images", "Read from the root argument of prepare()")
    return found


def files(subject: Subject) -> str:
    """The files that it names exist."""
    if not subject.question.root:
        raise UntriedError("it needs --root FOLDER")
    dataset, root = subject.create(), Path(subject.question.root)
    if not isinstance(dataset, FileListing):
        return "every file below the root counts"
    found = list(dataset.files(root))
    if absent := [path for path in found if not (root / path).is_file()]:
        raise FailedError(f"files() names {absent[0]}, which is not a file", "Return paths below the root")
    if not found:
        raise FailedError("files() names no file", "Return all raw files: their content identifies the data")
    return f"{len(found)} files"


def sheet(subject: Subject) -> str:
    """A page of slices with the outlines of their masks, for visual inspection."""
    if not subject.question.sheet:
        raise UntriedError("not requested; add --contact-sheet FOLDER")
    written = []
    for images in sets_of(subject, subject.kept["folder"]):
        path = Path(subject.question.sheet) / f"{subject.spec.name}-{images.domain}.png"
        contact_sheet(images, path)
        written.append(str(path))
    return "inspect " + ", ".join(written)


def described(subject: Subject) -> str:
    """Instructions for obtaining the data."""
    spec = subject.spec
    if spec.needs_root and not spec.obtain:
        raise FailedError(
            "the spec does not say where to get the data", 'Set obtain="https://... , then ..." in the spec'
        )
    about = task(subject)
    return f"{about.source} to {about.target}; " + (
        json.dumps({str(k): v for k, v in about.labels.items()}) or "no labels"
    )


_AFTER = ("object", "samples")
CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("task", described),
    Check("samples", prepared, ("object",), beside=True),
    Check("files", files),
    Check("sizes", sizes, _AFTER),
    Check("masks", masks, _AFTER),
    Check("leaks", leaks, _AFTER),
    Check("determinism by seed", determinism, _AFTER),
    Check("empty input", empty),
    Check("contact sheet", sheet, _AFTER),
    general.STATE,
)
