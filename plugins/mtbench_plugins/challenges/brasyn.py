"""BraSyn: image metrics (hongweilibran/BraSyn) and lesion-wise segmentation metrics (BraTS-2023-Metrics)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import CaseScores, ChallengeCase, ChallengeMetric, Inspection, Ranking, Submission, Team
from mtbench.challenges.files import Findings, read_volume, volumes_below, write_volume
from mtbench.formats import stem
from mtbench_plugins.challenges.brats import REGIONS
from mtbench_plugins.challenges.lesions import lesion_wise, whole
from mtbench_plugins.challenges.mean_rank import mean_rank

Floats = NDArray[np.float64]
SEQUENCES = ("t1c", "t1n", "t2f", "t2w")
SIGMA, RADIUS = 1.5, 5
_IGNORED = "ignored, as in the challenge, which compares voxel by voxel"
_NO_TUMOUR = "no tumour in the reference, for which the challenge's program returns NaN: no SSIM, MSE or PSNR in it"


class Brasyn:
    """SSIM inside and outside the tumour as in ``ssim.py``; MSE, PSNR and SSIM as in ``evaluation_utils.py``; lesions.

    ``ssim.py`` clips each image to its own percentiles 0.5 and 99.5 and scales it to [0, 1]; then it sets the voxels
    outside (inside) the tumour to 0 and takes SSIM over the whole volume, so the zeros count. ``evaluation_utils.py``
    scales both images by the percentiles of the truth outside the tumour, and averages over the tumour's voxels. SSIM
    is that of torchmetrics 1.9: a Gaussian window of 11 voxels, borders mirrored, data range of the images.

    Lesion-wise Dice and HD95: see :mod:`mtbench_plugins.challenges.lesions`, with dilation 3 and 50 cubic millimetres.
    """

    def inspect(self, submission: Submission) -> Inspection:
        """The cases of the truth."""
        findings = Findings()
        sequences = {name: _files(submission.truth, (name,), findings) for name in SEQUENCES}
        labels = _files(submission.masks or submission.truth, ("seg", ""), findings)
        names = dict.fromkeys(sorted({*labels, *(case for files in sequences.values() for case in files)}))
        predictions = _files(submission.predictions, SEQUENCES, findings)
        findings.match(names, predictions, "prediction", submission.predictions)
        segmented: Mapping[str, Path] = {}
        if submission.predicted is None:
            findings.remarks.append("Lesion-wise scores need the label maps of the predictions (--predicted)")
        else:
            segmented = _files(submission.predicted, ("seg", ""), findings)
            findings.match(names, segmented, "predicted label map", submission.predicted)
        cases = []
        for name in names:
            files = {"prediction": predictions.get(name), "masks": labels.get(name), "predicted": segmented.get(name)}
            if (prediction := files["prediction"]) is not None:
                files["truth"] = sequences[_sequence(prediction)].get(name)
            for role, what in (("truth", "true image of the predicted sequence"), ("masks", "reference label map")):
                if role in files and files[role] is None:
                    findings.problems.append(f"case '{name}' has no {what} in {submission.truth}")
            there = {role: path for role, path in files.items() if path is not None}
            if {"truth", "prediction", "masks"} <= set(there) and (
                submission.predicted is None or "predicted" in there
            ):
                cases.append(_checked(ChallengeCase(name, there, patient=_patient(name)), findings))
        usable = tuple(case for case in cases if case is not None)
        return Inspection(usable, tuple(findings.problems), tuple(findings.remarks))

    def measure(self, case: ChallengeCase) -> Mapping[str, float]:
        """The image metrics, without those of a tumour that does not exist; the segmentation metrics by region."""
        truth, image = (read_volume(case.files[role]).array.astype(np.float64).T for role in ("truth", "prediction"))
        reference = read_volume(case.files["masks"], labels=True)
        scores = image_scores(truth, image, reference.array.T > 0)
        if "predicted" in case.files:
            predicted = read_volume(case.files["predicted"], labels=True)
            for region, labels in REGIONS.items():
                ours, theirs = np.isin(predicted.array, labels), np.isin(reference.array, labels)
                lesions = lesion_wise(ours, theirs, predicted.spacing)
                found = [lesion.found for lesion in lesions.counted]
                values = {
                    "Num_TP": float(sum(found)),
                    "Num_FP": float(lesions.invented),
                    "Num_FN": float(len(found) - sum(found)),
                    **whole(ours, theirs, predicted.spacing),
                    "LesionWise_Score_Dice": lesions.dice,
                    "LesionWise_Score_HD95": lesions.hd95,
                }
                scores |= {f"{region}_{name}": value for name, value in values.items()}
        return scores

    def document(self, scores: Sequence[CaseScores]) -> Mapping[str, Any]:
        """By case: the image metrics, and by region the columns of the table that ``metrics.py`` writes.

        The public programs print the image metrics and write a table for each case; they write no JSON.
        """
        return {score.case.name: _nested(score.values) for score in scores}

    def example(self, folder: Path) -> Submission:
        """Two cases with one lesion each."""
        place = np.indices((16, 16, 16)).sum(0)
        lesion = np.where((place > 18) & (place < 26), 3, 0).astype(np.uint8)
        for number in range(2):
            case = f"BraTS-GLI-0000{number}-000"
            image = (place + 7 * number + 1).astype(np.float32)
            for name in (f"predictions/{case}", f"truth/{case}"):
                write_volume(folder / name / f"{case}-t1n.nii.gz", image)
            write_volume(folder / f"truth/{case}/{case}-seg.nii.gz", lesion)
            write_volume(folder / f"predicted/{case}.nii.gz", lesion)
        return Submission(folder / "predictions", folder / "truth", predicted=folder / "predicted")

    def read_document(self, document: Any) -> Mapping[str, Mapping[str, float]] | None:
        """The values of :meth:`document`: cases that map metrics and regions to values."""
        if not isinstance(document, dict) or not document:
            return None
        cases = list(document.values())
        if not all(isinstance(case, dict) and "SSIM_non_tumor" in case for case in cases):
            return None
        scores: dict[str, dict[str, float]] = {}
        for name, case in document.items():
            regions = {
                f"{region}_{column}": value for region in REGIONS for column, value in case.get(region, {}).items()
            }
            for metric, value in {**case, **regions}.items():
                if metric not in REGIONS:
                    scores.setdefault(metric, {})[name] = float(value)
        return scores

    def rank(self, teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
        """The mean of ranks over cases and metrics, as BraTS describes; the program that ranks is not public."""
        used = [metric for metric in metrics if metric.name not in _UNRANKED]
        return mean_rank(teams, used or metrics)


_UNRANKED = {f"{region}_{name}" for region in REGIONS for name in ("Legacy_Dice", "Num_FP", "Num_FN")} | {"MSE"}


def image_scores(truth: Floats, image: Floats, tumour: NDArray[np.bool_]) -> dict[str, float]:
    """``SSIM_tumor``, ``SSIM_non_tumor``; and of the tumour's voxels ``MSE``, ``PSNR``, ``SSIM``.

    Args:
        truth, image: grey values, three axes.
        tumour: the mask; if it is empty, only ``SSIM_non_tumor`` has a value.
    """
    own = [_scaled(each, each) for each in (truth, image)]
    scores = {"SSIM_non_tumor": float(ssim_map(*(each * ~tumour for each in own)).mean())}
    if tumour.any():
        scores["SSIM_tumor"] = float(ssim_map(*(each * tumour for each in own)).mean())
        first, second = (_scaled(each * tumour, truth * ~tumour) for each in (truth, image))
        error = float(((first - second)[tumour] ** 2).mean())
        scores["MSE"] = error
        scores["PSNR"] = float(-10 * np.log10(error)) if error else float("inf")
        scores["SSIM"] = float(ssim_map(first, second)[tumour].mean())
    return scores


def _scaled(image: Floats, reference: Floats) -> Floats:
    """Clipped to the percentiles 0.5 (at least 0) and 99.5 of the reference, and scaled to [0, 1]."""
    low, high = np.percentile(reference, [0.5, 99.5])
    low = max(low, 0.0)
    scaled: Floats = (np.clip(image, low, high) - low) / (high - low)
    return scaled


def ssim_map(first: Floats, second: Floats) -> Floats:
    """Structural similarity of each voxel; variances at least 0, borders mirrored, data range of the images."""
    from scipy.ndimage import correlate1d

    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    taps /= taps.sum()

    def local(image: Floats) -> Floats:
        for axis in range(image.ndim):
            image = correlate1d(image, taps, axis=axis, mode="mirror")
        return image

    data_range = max(np.ptp(first), np.ptp(second))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_1, mean_2 = local(first), local(second)
    variances = np.maximum(local(first * first) - mean_1**2, 0) + np.maximum(local(second * second) - mean_2**2, 0)
    covariance = local(first * second) - mean_1 * mean_2
    above = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    values: Floats = above / ((mean_1**2 + mean_2**2 + c1) * (variances + c2))
    return values


def _files(folder: Path, endings: Sequence[str], findings: Findings) -> Mapping[str, Path]:
    """The files ``ID-ENDING.nii.gz`` below a folder, by ID; an empty ending stands for ``ID.nii.gz``."""

    def name(path: Path) -> str | None:
        parts = re.fullmatch(r"(.+?)(?:-(seg|t1c|t1n|t2f|t2w))?", stem(path))
        return parts[1] if parts and (parts[2] or "") in endings else None

    return volumes_below(folder, name, findings)


def _patient(case: str) -> str:
    """BraTS-GLI-00005-100 is an examination of BraTS-GLI-00005."""
    return case.rpartition("-")[0] if re.fullmatch(r".+-\d{5}-\d{3}", case) else case


def _sequence(path: Path) -> str:
    return stem(path).rpartition("-")[2]


def _checked(case: ChallengeCase, findings: Findings) -> ChallengeCase | None:
    """The case with its remarks, or ``None`` and its problems."""
    volumes = {role: findings.read(path, labels=role in ("masks", "predicted")) for role, path in case.files.items()}
    truth, usable = volumes["truth"], True
    if truth is None:
        return None
    for role, volume in volumes.items():
        what = {"masks": "reference label map", "predicted": "predicted label map"}.get(role, role)
        if volume is None or (volume is not truth and not findings.on_grid(volume, truth, what, _IGNORED)):
            usable = False
        elif role in ("masks", "predicted"):
            usable = (
                findings.known_labels(volume, (1, 2, 3), "1, 2 and 3, as in BraTS since 2023 (before: 1, 2, 4)")
                and usable
            )
        elif float(np.percentile(volume.array, 99.5)) <= max(float(np.percentile(volume.array, 0.5)), 0):
            findings.problems.append(f"{volume.file}: 99 % of its voxels have one value, so it cannot be normalised")
            usable = False
    if min(truth.array.shape) <= RADIUS:
        findings.problems.append(f"{truth.file}: a side is shorter than {RADIUS + 1} voxels, the challenge's window")
        usable = False
    if not usable:
        return None
    masks = volumes["masks"]
    empty = masks is not None and not masks.array.any()
    return replace(case, remarks=(_NO_TUMOUR,)) if empty else case


def _nested(values: Mapping[str, float]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        region, _, column = name.partition("_")
        if region in REGIONS:
            result.setdefault(region, {})[column] = value
        else:
            result[name] = value
    return result
