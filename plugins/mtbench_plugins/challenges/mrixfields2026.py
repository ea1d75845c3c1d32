"""MRIxFields2026: metrics, results file and ranking (MRIxFields/MRIxFields2026, ``score.py``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import CaseScores, ChallengeCase, ChallengeMetric, Inspection, Ranking, Submission, Team
from mtbench.challenges.files import Findings, read_volume, write_volume
from mtbench.errors import RequestError
from mtbench.formats import read
from mtbench_plugins.challenges.mean_rank import rank_sum

Floats = NDArray[np.float64]
MODALITIES = ("T1W", "T2W", "T2FLAIR")
FIELDS = ("0.1T", "1.5T", "3T", "5T", "7T")
PAIRS: Mapping[str, tuple[str, ...]] = {
    "task1": tuple(f"{field}_to_7T" for field in FIELDS[:-1]),
    "task2": tuple(f"0.1T_to_{field}" for field in FIELDS[1:]),
    "task3": tuple(f"{a}_to_{b}" for a in FIELDS for b in FIELDS if a != b),
}
STRUCTURES = (10, 49, 11, 50, 12, 51, 13, 52, 17, 53, 18, 54, 26, 58)
"""FreeSurfer's labels of thalamus, caudate, putamen, pallidum, hippocampus, amygdala and accumbens, left and right."""

WINDOW = 7
_NAME = re.compile(r"P_(T1W|T2W|T2FLAIR)_([0-9.]+T)_(\d{4})(_seg)?\.nii\.gz")
_HEADER = "the challenge reorients images to RAS and compares label maps voxel by voxel, as stored"
_SEGMENTED = "Dice and Volume need label maps (seg/ beside pred/); the challenge reports null without them"


class Mrixfields2026:
    """nRMSE and SSIM of whole volumes, Dice and volume consistency of 14 structures, as in ``score.py``.

    SSIM is the mean over axial slices with contrast in the truth, with the data range of the whole truth and a uniform
    window of 7 x 7. A structure that neither label map contains counts 1 in Dice and Volume. Volume is
    1 - |predicted - true| / true, without a lower limit; 0 for an invented structure.
    """

    def __init__(self, task: str, ranking: str) -> None:
        self.task = task
        self.ranking = ranking

    def inspect(self, submission: Submission) -> Inspection:
        """The subjects of the truth, by pair and modality."""
        findings = Findings()
        if submission.predicted is not None or submission.masks is not None or submission.body is not None:
            raise RequestError(
                "--predicted, --masks and --body-mask do not apply", expected="label maps in seg/ and gt_seg/"
            )
        task = self._task(submission, findings)
        if task is None:
            return Inspection((), tuple(findings.problems))
        _check_names(submission.predictions, task, findings)
        segmented = task != "task3" and any(submission.predictions.glob("*/*/seg/*_seg.nii.gz"))
        if task != "task3" and not segmented:
            findings.remarks.append(_SEGMENTED)
        cases = [
            case
            for pair in PAIRS[task]
            for modality in MODALITIES
            for case in _cases(submission, pair, modality, segmented, findings)
        ]
        usable = tuple(case for case in cases if _usable(case, findings))
        return Inspection(usable, tuple(findings.problems), tuple(findings.remarks))

    def _task(self, submission: Submission, findings: Findings) -> str | None:
        if self.task != "folder":
            return self.task
        names = {folder.resolve().name for folder in (submission.predictions, submission.truth)}
        if len(names) == 1 and names <= set(PAIRS):
            return names.pop()
        findings.problems.append(
            f"the folders are called {' and '.join(sorted(names))}; expected task1, task2 or task3 for both, or "
            "the parameter task"
        )
        return None

    def measure(self, case: ChallengeCase) -> Mapping[str, float]:
        """``nRMSE``, ``SSIM``; ``Dice`` and ``Volume`` if the case has label maps."""
        # Single precision is that of the challenge's reader; the arithmetic is in double.
        truth, image = (
            read(case.files[role]).array.astype(np.float32).astype(np.float64) for role in ("truth", "prediction")
        )
        norm = float(np.linalg.norm(truth))
        error = float(np.linalg.norm(image - truth))
        scores = {"nRMSE": error / norm if norm >= 1e-10 else 0.0, "SSIM": ssim(image, truth)}
        if "predicted" in case.files:
            ours, theirs = (read_volume(case.files[role], labels=True).array for role in ("predicted", "masks"))
            scores |= structures(ours, theirs)
        return scores

    def document(self, scores: Sequence[CaseScores]) -> Mapping[str, Any]:
        """``results.json``; LPIPS is null, as Dice and Volume without label maps."""
        # The task is the folder above modality, pair, "gt" and the file.
        task = scores[0].case.files["truth"].parents[3].resolve().name if self.task == "folder" else self.task
        names = ("nRMSE", "SSIM", "LPIPS") if task == "task3" else ("nRMSE", "SSIM", "LPIPS", "Dice", "Volume")

        def mean(chosen: Sequence[CaseScores], name: str) -> float | None:
            values = [score.values[name] for score in chosen if name in score.values]
            return round(float(np.mean(values)), 6) if values else None

        result: dict[str, Any] = {
            "submission_status": "SCORED",
            "primary_metric": "SSIM",
            "primary_score": mean(scores, "SSIM"),
            "Num_Files": f"{len(scores)}/{len(scores)}",
        }
        for modality in MODALITIES:
            chosen = [score for score in scores if score.case.group == modality]
            result[f"Avg_{modality}_Num"] = f"{len(chosen)}/{len(chosen)}"
            result |= {f"Avg_{modality}_{name}_adj": mean(chosen, name) for name in names}
        return result | {f"Mean_of_all_subtasks_{name}_adj": mean(scores, name) for name in names}

    def example(self, folder: Path) -> Submission:
        """Two subjects of one pair of fields, without label maps."""
        image = (np.indices((16, 16, 8)).sum(0) / 40).astype(np.float32)
        for subject in ("0001", "0002"):
            for place in ("predictions/task1/T1W/3T_to_7T/pred", "truth/task1/T1W/3T_to_7T/gt"):
                write_volume(folder / place / f"P_T1W_7T_{subject}.nii.gz", image)
        return Submission(folder / "predictions/task1", folder / "truth/task1")

    def read_document(self, document: Any) -> Mapping[str, Mapping[str, float]] | None:
        """The means of ``results.json``."""
        if not isinstance(document, dict) or "submission_status" not in document:
            return None
        names = {"nRMSE", "SSIM", "LPIPS", "Dice", "Volume"}
        means = {name: document.get(f"Mean_of_all_subtasks_{name}_adj") for name in sorted(names)}
        return {name: {"": float(value)} for name, value in means.items() if value is not None}

    def rank(self, teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
        """The sum of ranks over metrics, as in the challenge's description, or ``score.py``'s primary score."""
        if self.ranking == "rank-sum":
            remark = () if any(metric.name == "LPIPS" for metric in metrics) else ("Ranked without LPIPS",)
            return rank_sum(teams, metrics, remark)
        primary = [metric.name for metric in metrics if metric.name.lower() == "ssim"]
        if not primary:
            raise RequestError("the primary score is SSIM, which these results lack", where="mrixfields2026:primary")
        totals = {team.name: team.mean(primary[0]) for team in teams}
        return Ranking.of(totals, "mean SSIM", higher_is_better=True, metrics=tuple(primary))


def ssim(image: Floats, truth: Floats) -> float:
    """Mean over axial slices with contrast in the truth; 1 if there are none.

    Args:
        image, truth: three axes, axial slices along the last one.
    """
    data_range = float(truth.max() - truth.min())
    if data_range < 1e-10:
        return 1.0
    flat = np.ptp(truth, axis=(0, 1)) < 1e-10
    values = [_slice_ssim(image[..., k], truth[..., k], data_range) for k in np.flatnonzero(~flat)]
    return float(np.mean(values)) if values else 1.0


def _slice_ssim(first: Floats, second: Floats, data_range: float) -> float:
    from scipy.ndimage import uniform_filter

    sample = WINDOW**2 / (WINDOW**2 - 1)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_1, mean_2 = uniform_filter(first, WINDOW), uniform_filter(second, WINDOW)
    variance_1 = sample * (uniform_filter(first * first, WINDOW) - mean_1 * mean_1)
    variance_2 = sample * (uniform_filter(second * second, WINDOW) - mean_2 * mean_2)
    covariance = sample * (uniform_filter(first * second, WINDOW) - mean_1 * mean_2)
    above = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    below = (mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    return float((above / below)[inside, inside].mean())


def structures(predicted: NDArray[Any], reference: NDArray[Any]) -> dict[str, float]:
    """``Dice`` and ``Volume``, means over the 14 structures."""
    dice, volumes = [], []
    for label in STRUCTURES:
        ours, theirs = predicted == label, reference == label
        count, true = int(ours.sum()), int(theirs.sum())
        dice.append(2 * int((ours & theirs).sum()) / (count + true) if count + true else 1.0)
        volumes.append(1 - abs(count - true) / true if true else float(count == 0))
    return {"Dice": float(np.mean(dice)), "Volume": float(np.mean(volumes))}


def _check_names(folder: Path, task: str, findings: Findings) -> None:
    """Every file of the submission has the name that the challenge demands."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == ".DS_Store" or path.name.startswith("._") or "__MACOSX" in path.parts:
            continue
        parts, name = path.relative_to(folder).parts, _NAME.fullmatch(path.name)
        kinds = ("pred",) if task == "task3" else ("pred", "seg")
        placed = len(parts) == 4 and parts[0] in MODALITIES and parts[1] in PAIRS[task] and parts[2] in kinds
        if not placed or name is None or bool(name[4]) != (parts[2] == "seg"):
            findings.problems.append(
                f"{path}: unexpected name or place; expected MODALITY/PAIR/pred/P_MODALITY_FIELD_0001.nii.gz"
                + (" or MODALITY/PAIR/seg/P_MODALITY_FIELD_0001_seg.nii.gz" if task != "task3" else "")
            )


def _cases(
    submission: Submission, pair: str, modality: str, segmented: bool, findings: Findings
) -> list[ChallengeCase]:
    """The subjects of one pair and modality; those of the truth."""
    field, there = pair.partition("_to_")[2], Path(modality) / pair
    folders = {"truth": submission.truth / there / "gt", "prediction": submission.predictions / there / "pred"}
    if segmented:
        folders |= {"masks": submission.truth / there / "gt_seg", "predicted": submission.predictions / there / "seg"}
    files: dict[str, dict[str, Path]] = {}
    for role, folder in folders.items():
        ending = "_seg" if role in ("masks", "predicted") else ""
        found = sorted(folder.glob(f"P_{modality}_{field}_????{ending}.nii.gz"))
        files[role] = {path.name.removesuffix(f"{ending}.nii.gz")[-4:]: path for path in found}
    for role, what in (("prediction", "prediction"), ("predicted", "label map"), ("masks", "true label map")):
        for subject in files["truth"]:
            if role in files and subject not in files[role]:
                findings.problems.append(f"case '{modality}/{pair}/{subject}' has no {what} in {folders[role]}")
    for role in ("prediction", "predicted"):
        strange = set(files.get(role, ())) - set(files["truth"])
        findings.problems += [
            f"{files[role][subject]} belongs to no subject of the truth" for subject in sorted(strange)
        ]
    subjects = [subject for subject in files["truth"] if all(subject in each for each in files.values())]
    return [
        ChallengeCase(f"{pair}/{s}", {role: files[role][s] for role in files}, modality, patient=s) for s in subjects
    ]


def _usable(case: ChallengeCase, findings: Findings) -> bool:
    usable = True
    for role, own in (("truth", "prediction"), ("masks", "predicted")):
        if role not in case.files:
            continue
        labels = role == "masks"
        truth, volume = findings.read(case.files[role], labels=labels), findings.read(case.files[own], labels=labels)
        if truth is None or volume is None or not findings.on_grid(volume, truth, own, _HEADER):
            usable = False
        elif not labels and min(truth.array.shape[:2]) < WINDOW:
            findings.problems.append(
                f"{truth.file}: a slice is smaller than {WINDOW} x {WINDOW}, the challenge's window"
            )
            usable = False
    return usable
