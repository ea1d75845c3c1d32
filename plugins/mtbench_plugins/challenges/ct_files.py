"""The files of a SynthRAD submission: predictions, CTs, body masks and label maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mtbench import ChallengeCase, Submission
from mtbench.challenges.files import FileVolume, Findings, last_word, volumes_below, write_volume
from mtbench.formats import stem

SMALLEST = 7
"""Voxels; the width of the window of both challenges' similarity."""

IMPOSED = "ignored, as in the challenge, which compares voxel by voxel"


def of_role(folder: Path, role: str, findings: Findings | None = None) -> Mapping[str, Path]:
    """The files ``role/ID.*`` or ``ID/role.*`` below a folder, by ID."""

    def name(path: Path) -> str | None:
        if stem(path) == role:
            return path.parent.name
        return last_word(path) if path.parent.name == role else None

    return volumes_below(folder, name, findings)


def predicted_id(path: Path) -> str:
    """The case of a prediction: the last word of its name, or its folder in ``ID/sct.nii.gz``."""
    return path.parent.name if stem(path) in ("sct", "ct") else last_word(path)


class CtFiles:
    """The files of a submission by role and case, with the problems of their names."""

    def __init__(self, submission: Submission, findings: Findings, *, label_maps: bool = False) -> None:
        truth = of_role(submission.truth, "ct", findings)
        if not truth:  # a plain folder of CTs
            truth = volumes_below(submission.truth, last_word, findings)
        self.files = {"truth": truth, "prediction": volumes_below(submission.predictions, predicted_id, findings)}
        findings.match(truth, self.files["prediction"], "prediction", submission.predictions)
        self._add("body", submission.body, submission.truth, "mask", findings)
        if label_maps and submission.predicted is not None:
            self._add("masks", submission.masks, submission.truth, "segmentation", findings)
            self.files["predicted"] = volumes_below(submission.predicted, last_word, findings)
            findings.match(truth, self.files["predicted"], "predicted label map", submission.predicted)

    def _add(self, role: str, named: Path | None, truth: Path, folder: str, findings: Findings) -> None:
        files = volumes_below(named, last_word, findings) if named else of_role(truth, folder, findings)
        self.files[role] = files
        what = "body mask" if role == "body" else "reference label map"
        for case in self.files["truth"]:
            if case not in files:
                findings.problems.append(f"case '{case}' has no {what} in {named or truth / folder}")

    def cases(self) -> list[ChallengeCase]:
        """The cases that have a file for each role."""
        names = [case for case in self.files["truth"] if all(case in files for files in self.files.values())]
        return [ChallengeCase(name, {role: files[name] for role, files in self.files.items()}) for name in names]


def example(folder: Path) -> Submission:
    """Two cases of a thorax in the layout of the challenges, with label maps of the heart."""
    place = np.indices((16, 16, 16)).sum(0)
    for number, case in enumerate(("1THA001", "1THA002")):
        image = (40 * place - 1000 + 10 * number).astype(np.int16)
        heart = np.where(place > 20, 51, 0).astype(np.uint8)
        for name in (f"predictions/{case}", f"truth/ct/{case}"):
            write_volume(folder / f"{name}.nii.gz", image)
        for name in (f"predicted/{case}", f"truth/segmentation/{case}"):
            write_volume(folder / f"{name}.nii.gz", heart)
        write_volume(folder / f"truth/mask/{case}.nii.gz", (place > 5).astype(np.uint8))
    return Submission(folder / "predictions", folder / "truth", predicted=folder / "predicted")


def check_images(case: ChallengeCase, findings: Findings, imposed: str = IMPOSED) -> tuple[FileVolume | None, bool]:
    """Read the images and the body mask of a case, and add their problems.

    Args:
        case: with the roles "truth", "prediction" and "body".
        findings: receives problems and remarks.
        imposed: what the challenge does if the headers differ.

    Returns:
        The truth, or ``None`` if it cannot be read; and whether the case can be scored.
    """
    truth = findings.read(case.files["truth"])
    prediction = findings.read(case.files["prediction"])
    body = findings.read(case.files["body"], labels=True)
    if truth is None or prediction is None or body is None:
        return truth, False
    usable = findings.on_grid(prediction, truth, "prediction", imposed)
    usable = findings.on_grid(body, truth, "body mask", imposed) and usable
    if min(truth.array.shape) < SMALLEST:
        size = " x ".join(map(str, truth.array.shape))
        findings.problems.append(f"{truth.file}: {size} voxels; expected at least {SMALLEST} along each axis")
        return truth, False
    inner = body.array[(slice(SMALLEST // 2, -(SMALLEST // 2)),) * 3]
    if not (inner > 0).any():
        where = "" if not (body.array > 0).any() else f" further than {SMALLEST // 2} voxels from the border"
        findings.problems.append(f"{body.file}: the body mask is empty{where}, so its scores are undefined")
        usable = False
    low, high = float(prediction.array.min()), float(prediction.array.max())
    if high - low <= 2 < float(np.ptp(truth.array)):
        findings.remarks.append(
            f"{prediction.file}: its values range from {low:g} to {high:g}; expected Hounsfield units"
        )
    return truth, usable
