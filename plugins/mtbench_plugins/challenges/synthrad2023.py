"""SynthRAD2023: image metrics and ranking (SynthRAD2023/metrics, SynthRAD2023/ranking)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import ChallengeCase, ChallengeMetric, Inspection, Ranking, Submission, Team
from mtbench.challenges.files import Findings, read_volume
from mtbench_plugins.challenges import aggregates, ct_files

Array = NDArray[Any]
LOW, HIGH = -1024.0, 3000.0
WINDOW = 7


class Synthrad2023(aggregates.SynthradFile):
    """MAE, SSIM and PSNR inside the body mask, as in ``image_metrics.py``.

    Volumes are compared voxel by voxel in single precision; headers are not used. MAE is not clipped; PSNR and SSIM
    clip to -1024 ... 3000 HU, which is their data range. SSIM: mean of the map inside the mask, without three voxels
    along each face; values outside the mask set to -1024 beforehand; a window of 7 x 7 x 7.
    """

    def inspect(self, submission: Submission) -> Inspection:
        """The cases of the truth."""
        findings = Findings()
        cases = ct_files.CtFiles(submission, findings).cases()
        usable = tuple(case for case in cases if ct_files.check_images(case, findings)[1])
        return Inspection(usable, tuple(findings.problems), tuple(findings.remarks))

    def measure(self, case: ChallengeCase) -> Mapping[str, float]:
        """``mae``, ``ssim``, ``psnr``."""
        truth, image = (read_volume(case.files[r]).array.astype(np.float32).T for r in ("truth", "prediction"))
        body = read_volume(case.files["body"], labels=True).array.T > 0
        inside = body.astype(np.float64)
        clipped = [np.clip(each, np.float32(LOW), np.float32(HIGH)) for each in (truth, image)]
        return {
            "mae": float(np.abs(truth * inside - image * inside).sum() / inside.sum()),
            "ssim": masked_ssim(clipped[0], clipped[1], body),
            "psnr": psnr(clipped[0][body], clipped[1][body], HIGH - LOW),
        }

    def rank(self, teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
        """The sum of normalised means of ``rank_teams.py``."""
        return aggregates.normalised_sum(teams, metrics, ())


def psnr(truth: Array, image: Array, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal values."""
    error = float(np.mean((truth - image) ** 2, dtype=np.float64))
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def masked_ssim(truth: Array, image: Array, body: NDArray[np.bool_]) -> float:
    """Mean structural similarity inside the mask; arithmetic in the type of the images, as in scikit-image.

    Args:
        truth, image: clipped to the data range.
        body: the mask.
    """
    from scipy.ndimage import uniform_filter

    first, second = (np.where(body, each, np.float32(LOW)) - np.float32(LOW) for each in (truth, image))
    sample = WINDOW**3 / (WINDOW**3 - 1)
    mean_1, mean_2 = uniform_filter(first, WINDOW), uniform_filter(second, WINDOW)
    variance_1 = sample * (uniform_filter(first * first, WINDOW) - mean_1 * mean_1)
    variance_2 = sample * (uniform_filter(second * second, WINDOW) - mean_2 * mean_2)
    covariance = sample * (uniform_filter(first * second, WINDOW) - mean_1 * mean_2)
    c1, c2 = (0.01 * (HIGH - LOW)) ** 2, (0.03 * (HIGH - LOW)) ** 2
    above = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    below = (mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2)
    inside = (slice(WINDOW // 2, -(WINDOW // 2)),) * 3
    return float((above / below)[inside][body[inside]].mean(dtype=np.float64))
