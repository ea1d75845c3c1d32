"""Matching of files to slices: by name, and for a volume by the position of its slices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mtbench import DataError, Slice
from mtbench.errors import close_matches
from mtbench.formats import Geometry, Volume, images_below, lies_at, read, stem, suffix
from mtbench.preparation.exchange import accepted, case_names, names
from mtbench_plugins.translators.precomputed.table import Misfit

_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", "")
"""Endings of files that hold volumes; a DICOM series is a folder, without one."""


@dataclass
class Answers:
    """Files by the slice or case that they match.

    Attributes:
        folder: of the files.
        slice_names, case_names: the file names, without ending, of slices and cases in an export.
        slices: the files of single slices, by slice id.
        cases: the files of volumes, by (patient, case).
        extra: files that match nothing.
    """

    folder: Path
    slice_names: dict[str, str]
    case_names: dict[tuple[str, str], str]
    slices: dict[str, list[Path]] = field(default_factory=dict)
    cases: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    extra: list[Path] = field(default_factory=list)

    @property
    def files(self) -> int:
        """The number of files."""
        return sum(map(len, (*self.slices.values(), *self.cases.values()))) + len(self.extra)


def answers(folder: Path, slices: Sequence[Slice], known: Sequence[Slice]) -> Answers:
    """Sort the files of a folder.

    Args:
        folder: of translated images, volumes or DICOM series, at any depth.
        slices: the slices to translate.
        known: all exported slices, if there is a manifest; names are unique among them.

    Raises:
        DataError: the folder does not exist, or holds no image.
    """
    if not folder.is_dir():
        raise DataError("this folder does not exist", where=str(folder), expected="a folder of translated images")
    paths = images_below(folder, aliases=True)
    if not paths:
        raise DataError("the folder holds no image", where=str(folder), expected="PNG, TIFF, NPY, NIfTI, NRRD, MHA")
    everything = list({record.slice_id: record for record in (*known, *slices)}.values())
    slice_names = dict(zip((s.slice_id for s in everything), names(everything), strict=True))
    result = Answers(folder, slice_names, case_names(everything))
    of_slice = _by_name({s.slice_id: accepted(slice_names[s.slice_id], s.slice_id, s.file) for s in everything})
    first = {(s.patient_id, s.case_id): s for s in reversed(everything)}
    of_case = _by_name({case: accepted(name, case[1], first[case].file) for case, name in result.case_names.items()})
    wanted = {s.slice_id for s in slices}, {(s.patient_id, s.case_id) for s in slices}
    for path in paths:
        below = path.relative_to(folder).with_name(stem(path)).parts
        candidates = ["_".join(below[start:]) for start in range(len(below))]
        # A volume's file may have the name of a slice if a case has only one.
        order = (of_case, of_slice) if suffix(path) in _VOLUMES else (of_slice, of_case)
        answered = next((table[name] for table in order for name in candidates if name in table), None)
        if isinstance(answered, tuple):
            if answered in wanted[1]:
                result.cases.setdefault(answered, []).append(path)
        elif answered is None:
            result.extra.append(path)
        elif answered in wanted[0]:
            result.slices.setdefault(answered, []).append(path)
    return result


T = TypeVar("T")


def _by_name(accepted_by: dict[T, set[str]]) -> dict[str, T]:
    """Entries by name, without names that several entries share."""
    count = Counter(name for some in accepted_by.values() for name in some)
    return {name: item for item, some in accepted_by.items() for name in some if count[name] == 1}


def missing_lines(records: Sequence[Slice], total: int, found: Answers) -> list[Misfit]:
    """Lines for the slices of a case without a file: a single line if all ``total`` of them have none."""
    case = found.case_names[records[0].patient_id, records[0].case_id]
    lines = [(f"{found.slice_names[r.slice_id]}.png", r.slice_id) for r in records]
    if len(records) == total > 1:
        what = f"{records[0].case_id}, all {total} slices"
        return [Misfit("missing", what, f"{case}.nii.gz, or {total} images ({lines[0][0]}, ...)", count=total)]
    return [Misfit("missing", slice_id, f"{name}, or a slice of {case}.nii.gz") for name, slice_id in lines]


def extra_lines(found: Answers, slices: Sequence[Slice]) -> list[Misfit]:
    """A line for each file that matches nothing, with the probable name if there is one."""
    cases = found.case_names
    known = [found.slice_names[s.slice_id] for s in slices] + [cases[s.patient_id, s.case_id] for s in slices]
    lines = []
    for path in found.extra:
        ending = suffix(path)
        guess = _by_header(path, slices) if ending in _VOLUMES else None
        name = cases[guess] if guess else _closest(stem(path), known)
        hint = (
            f"{name}{ending}, {'by its position' if guess else 'the closest name'}"
            if name
            else "no slice has this name"
        )
        lines.append(Misfit("extra", str(path.relative_to(found.folder)), hint))
    return lines


def _by_header(path: Path, slices: Sequence[Slice]) -> tuple[str, str] | None:
    """The only case at the position of this volume."""
    try:
        volume = read(path)
    except DataError:
        return None
    first = {(s.patient_id, s.case_id): s for s in slices if s.geometry}
    fitting = [case for case, record in first.items() if _fits(volume, record)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(volume: Volume, record: Slice) -> bool:
    """Whether a volume lies exactly at the position of a slice's volume, slice by slice."""
    geometry = Geometry.from_json(record.geometry)
    try:
        return sorted(volume.file_shape) == sorted(geometry.shape) and lies_at(volume, geometry) == geometry.index
    except DataError:
        return False


def _closest(name: str, known: Sequence[str]) -> str:
    """The most similar name with the same numbers: another number means another patient."""
    numbers = re.findall(r"[0-9]+", name)
    alike = [other for other in known if re.findall(r"[0-9]+", other) == numbers]
    return next(iter(close_matches(name, alike)), "")
