"""Reading the volumes of a submission, and collecting every problem before anything is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError, close_matches
from mtbench.formats import read, read_mask, stem
from mtbench.formats.writing import file_order

_NEAR = 1e-3
"""Millimetres, or components of a direction: below this, two headers agree."""


@dataclass(frozen=True)
class FileVolume:
    """A volume in the axis order of its file.

    Attributes:
        array: three axes, the fastest of the file first (x, y, z of ITK; i, j, k of NIfTI). Integers as stored,
            everything else float32; finite.
        affine: 4 x 4, index to RAS millimetres.
        file: its path.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    file: str

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along each axis of ``array``."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])


def read_volume(path: Path | str, *, labels: bool = False) -> FileVolume:
    """A volume with a header (NIfTI, NRRD, MHA) in the axis order of its file.

    Args:
        path: the file.
        labels: whether it is a label map; then the array holds integers.

    Raises:
        DataError: it cannot be read, has no orientation, or is a label map with values that are not integers.
    """
    volume = (read_mask if labels else read)(path)
    if volume.file_affine is None:
        raise DataError(
            "this file has no orientation", where=str(path), expected="a volume in NIfTI, NRRD or MHA format"
        )
    return FileVolume(file_order(volume), volume.file_affine, str(path))


def write_volume(path: Path, array: NDArray[Any], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
    """Write a NIfTI file, for the examples of challenges.

    Args:
        path: ends with .nii or .nii.gz; its folder is created.
        array: three axes, towards right, anterior and superior.
        spacing: mm along each axis.
    """
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def volumes_below(
    folder: Path, name: Callable[[Path], str | None], findings: Findings | None = None
) -> Mapping[str, Path]:
    """The volume files below a folder by case ID, sorted.

    Args:
        folder: it is searched with all its subfolders.
        name: the case ID of a path, or ``None`` for a file that does not belong to the submission.
        findings: receives a problem for each ID that two files share.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or not path.name.lower().endswith((".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")):
            continue
        case = name(path)
        if case is None:
            continue
        if case in files and findings is not None:
            findings.problems.append(f"case '{case}' has two files, {files[case]} and {path}; expected one")
        files.setdefault(case, path)
    return dict(sorted(files.items()))


def last_word(path: Path) -> str:
    """The case ID in names such as ``sct_1ABA001.mha`` and ``1ABA001.mha``: the last word between underscores."""
    return stem(path).rpartition("_")[2]


@dataclass
class Findings:
    """What an inspection has collected.

    Attributes:
        problems: see :class:`mtbench.challenges.records.Inspection`.
        remarks: likewise.
    """

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def read(self, path: Path, *, labels: bool = False) -> FileVolume | None:
        """The volume, or ``None`` and a problem if it cannot be read."""
        try:
            return read_volume(path, labels=labels)
        except DataError as error:
            self.problems.append(str(error))
            return None

    def match(self, expected: Iterable[str], files: Mapping[str, Path], what: str, folder: Path) -> None:
        """Add a problem for each case without a file, and for each file without a case.

        Args:
            expected: the IDs of the truth.
            files: the submission's files by ID.
            what: the kind of file in messages ("prediction").
            folder: the folder that was searched.
        """
        known = list(expected)
        spare = [case for case in files if case not in known]
        for case in known:
            if case not in files:
                close = close_matches(case, spare)
                renamed = f"; {files[close[0]].name} may be this case, renamed" if close else ""
                self.problems.append(f"case '{case}' has no {what} in {folder}{renamed}")
        for case in spare:
            self.problems.append(f"{files[case]} belongs to no case of the truth ('{case}' is not among its IDs)")

    def on_grid(self, volume: FileVolume, truth: FileVolume, what: str, header: str) -> bool:
        """Whether a volume has the size of its truth. A different size is a problem, a different header a remark.

        Args:
            volume, truth: as read.
            what: the kind of file in messages ("prediction").
            header: what the challenge does if the headers differ, for the remark; empty makes that a problem too.
        """
        if volume.array.shape != truth.array.shape:
            ours, theirs = (" x ".join(map(str, each.array.shape)) for each in (volume, truth))
            self.problems.append(f"{volume.file}: the {what} is {ours} voxels, its truth {theirs}; expected the same")
            return False
        if not np.allclose(volume.affine, truth.affine, atol=_NEAR):
            text = (
                f"{volume.file}: the header of the {what} differs from that of the truth: {_difference(volume, truth)}"
            )
            if not header:
                self.problems.append(f"{text}; expected the grid of the truth")
                return False
            self.remarks.append(f"{text}; {header}")
        return True

    def known_labels(self, volume: FileVolume, known: Iterable[int], meaning: str) -> bool:
        """Whether a label map holds known labels only; others are a problem.

        Args:
            volume: a label map.
            known: the labels, without 0.
            meaning: what the labels are, for the message.
        """
        strange = sorted({int(value) for value in np.unique(volume.array)} - {0, *known})
        if strange:
            listed = ", ".join(map(str, strange[:5])) + (", ..." if len(strange) > 5 else "")
            self.problems.append(f"{volume.file}: unknown labels {listed}; expected {meaning}")
        return not strange


def _difference(volume: FileVolume, truth: FileVolume) -> str:
    if not np.allclose(volume.spacing, truth.spacing, atol=_NEAR):
        ours, theirs = (" x ".join(f"{step:.4g}" for step in each.spacing) for each in (volume, truth))
        return f"spacing {ours} mm instead of {theirs} mm"
    if not np.allclose(volume.affine[:3, :3], truth.affine[:3, :3], atol=_NEAR):
        return "its axes have other directions"
    offset = float(np.linalg.norm(volume.affine[:3, 3] - truth.affine[:3, 3]))
    return f"its origin is {offset:.4g} mm away"
