"""SynthRAD2025: image and segmentation metrics, results file and ranking (SynthRAD2025/evaluation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mtbench import ChallengeCase, ChallengeMetric, DataError, Inspection, Ranking, Submission, Team
from mtbench.challenges.files import FileVolume, Findings, read_volume
from mtbench_plugins.challenges import aggregates, ct_files
from mtbench_plugins.challenges.synthrad2023 import psnr
from mtbench_plugins.metrics.challenge import ms_ssim
from mtbench_plugins.metrics.surface_distances import Hausdorff95

LOW = -1024.0
HIGH = {"evaluation": 3071.0, "metrics": 3000.0}

_TRUNK = (2, 3, 5, 6, *range(10, 15), *range(26, 51), 51, 79, *range(92, 116), 116)
CLASSES: Mapping[str, tuple[int, ...]] = {
    "AB": _TRUNK,
    "HN": (15, 16, 17, *range(26, 51), 79, 90, 91),
    "TH": _TRUNK,
}
"""TotalSegmentator's labels that count, by the anatomy in a case's ID: kidneys, liver, stomach, lungs, vertebrae,
heart, spinal cord, ribs and sternum; oesophagus, trachea, thyroid, vertebrae, spinal cord, brain and skull."""


class Synthrad2025(aggregates.SynthradFile):
    """MAE, PSNR and MS-SSIM inside the body mask, as in ``image_metrics.py``; Dice and HD95 of label maps.

    The challenge segments predictions with TotalSegmentator; here the label maps must exist. Dice and HD95 are means
    over the classes of the anatomy that the reference contains; a class that only the prediction contains is ignored.
    MS-SSIM: see :mod:`mtbench_plugins.metrics.challenge`.
    """

    def __init__(self, data_range: str, ranking: str) -> None:
        self.high = HIGH[data_range]
        self.ranking = ranking

    def inspect(self, submission: Submission) -> Inspection:
        """The cases of the truth. ``evaluate.py`` scores the predictions that exist and ignores missing ones."""
        findings = Findings()
        files = ct_files.CtFiles(submission, findings, label_maps=True)
        cases = [self._checked(case, findings) for case in files.cases()]
        if submission.predicted is None:
            findings.remarks.append("Dice and HD95 need the label maps of the predictions (--predicted)")
        usable = tuple(case for case in cases if case is not None)
        return Inspection(usable, tuple(findings.problems), tuple(findings.remarks))

    def _checked(self, case: ChallengeCase, findings: Findings) -> ChallengeCase | None:
        truth, usable = ct_files.check_images(case, findings)
        if "predicted" not in case.files or truth is None:
            return case if usable else None
        try:
            classes = classes_of(case.name)
        except DataError as error:
            findings.problems.append(str(error))
            return None
        maps = {}
        for role, what in (("masks", "reference label map"), ("predicted", "predicted label map")):
            volume = findings.read(case.files[role], labels=True)
            if volume is None or not findings.on_grid(volume, truth, what, ct_files.IMPOSED):
                return None
            if not findings.known_labels(volume, range(1, 118), "TotalSegmentator's labels 1 to 117"):
                return None
            maps[role] = volume
        remark = _remark(maps["predicted"], maps["masks"], classes)
        return replace(case, remarks=(remark,) if remark else ()) if usable else None

    def measure(self, case: ChallengeCase) -> Mapping[str, float]:
        """``mae``, ``psnr``, ``ms_ssim``; ``DICE`` and ``HD95`` if the case has label maps."""
        truth, image = (read_volume(case.files[role]) for role in ("truth", "prediction"))
        body = read_volume(case.files["body"], labels=True).array > 0
        first, second = (np.clip(_exact(each), LOW, self.high) for each in (image, truth))
        scores = {
            "mae": float(np.abs(_float64(image) - _float64(truth))[body].mean()),
            "psnr": psnr(second[body], first[body], self.high - LOW),
            "ms_ssim": ms_ssim(first, second, body, self.high),
        }
        if "predicted" in case.files:
            ours, theirs = (read_volume(case.files[role], labels=True).array for role in ("predicted", "masks"))
            scores |= segmentation(ours, theirs, truth.spacing, classes_of(case.name))
        return scores

    def rank(self, teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
        """The sum of normalised means of ``rank_teams.py``, with its directions corrected or as published."""
        if self.ranking == "corrected":
            return aggregates.normalised_sum(teams, metrics, ())
        # The name without the variant that metrics of a results directory have.
        published = [
            replace(metric, higher_is_better=metric.name.partition("[")[0] in aggregates.HIGHER) for metric in metrics
        ]
        turned = [a.name for a, b in zip(metrics, published, strict=True) if a.higher_is_better != b.higher_is_better]
        text = f"The public rank_teams.py ranks {', '.join(turned)} in the wrong direction, and so does this rule"
        return aggregates.normalised_sum(teams, published, (text,) if turned else ())


def _remark(predicted: FileVolume, reference: FileVolume, classes: Sequence[int]) -> str:
    """A note on the classes of a case; empty if all of them are in both label maps."""
    present = set(np.unique(reference.array).tolist()) & set(classes)
    if not present:
        return "no class of its anatomy in the reference label map: the challenge counts Dice 0 and HD95 0 mm"
    lost = sorted(present - set(np.unique(predicted.array).tolist()))
    if not lost:
        return ""
    outcome = "HD95 is 0 mm" if len(lost) == len(present) else "they do not count in HD95"
    return f"classes missing from the prediction: {', '.join(map(str, lost))}; as in the challenge, {outcome}"


def classes_of(case: str) -> tuple[int, ...]:
    """The labels that count for a case.

    Raises:
        DataError: the ID names no anatomy.
    """
    anatomy = case[1:3].upper()
    if anatomy not in CLASSES:
        raise DataError(
            f"the ID '{case}' names no anatomy",
            expected="an ID such as 1ABA001, whose second and third letters are AB, HN or TH",
        )
    return CLASSES[anatomy]


def segmentation(
    predicted: Any, reference: Any, spacing: tuple[float, float, float], classes: Sequence[int]
) -> dict[str, float]:
    """``DICE`` and ``HD95`` (mm), means over the classes in the reference.

    Args:
        predicted, reference: integer label maps, three axes.
        spacing: mm along each axis.
        classes: the labels that count.
    """
    dice, distances = [], []
    for label in classes:
        ours, theirs = predicted == label, reference == label
        if not theirs.any():
            continue
        dice.append(2 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum()))
        distances.append(Hausdorff95(missing="skip").of_masks(ours, theirs, spacing))
    if not dice:
        return {"DICE": 0.0, "HD95": 0.0}
    measured = [distance for distance in distances if not np.isnan(distance)]
    return {"DICE": float(np.mean(dice)), "HD95": float(np.mean(measured)) if measured else 0.0}


def _exact(volume: FileVolume) -> Any:
    """Integers as float64; floating-point values as stored, because the challenge computes in their precision."""
    return volume.array if volume.array.dtype == np.float32 else volume.array.astype(np.float64)


def _float64(volume: FileVolume) -> Any:
    return volume.array.astype(np.float64)
