"""The challenge BraSyn: its names, metrics and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mtbench

REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
"""Whole tumour, tumour core and enhancing tumour, by the labels of BraTS 2023."""

_FROM_0 = (0.0, math.inf)


def _metrics() -> Iterator[mtbench.ChallengeMetric]:
    yield mtbench.ChallengeMetric("SSIM_tumor", True, "SSIM tumour", bounds=(-1.0, 1.0))
    yield mtbench.ChallengeMetric("SSIM_non_tumor", True, "SSIM outside", bounds=(-1.0, 1.0))
    yield mtbench.ChallengeMetric("MSE", False, bounds=_FROM_0)
    yield mtbench.ChallengeMetric("PSNR", True, "PSNR", "dB", 2)
    yield mtbench.ChallengeMetric("SSIM", True, "SSIM masked", bounds=(-1.0, 1.0))
    for region in REGIONS:
        yield mtbench.ChallengeMetric(
            f"{region}_LesionWise_Score_Dice", True, f"{region} lesion-wise Dice", bounds=(0.0, 1.0)
        )
        yield mtbench.ChallengeMetric(
            f"{region}_LesionWise_Score_HD95", False, f"{region} lesion-wise HD95", "mm", 2, _FROM_0
        )
        yield mtbench.ChallengeMetric(f"{region}_Legacy_Dice", True, f"{region} Dice", bounds=(0.0, 1.0))
        yield mtbench.ChallengeMetric(f"{region}_Num_FP", False, f"{region} false lesions", "", 2, _FROM_0)
        yield mtbench.ChallengeMetric(f"{region}_Num_FN", False, f"{region} missed lesions", "", 2, _FROM_0)


@mtbench.hookimpl
def mtbench_challenges() -> Iterator[mtbench.ChallengeSpec]:
    """The challenge ``brasyn``."""
    yield mtbench.ChallengeSpec(
        "brasyn",
        "mtbench_plugins.challenges.brasyn:Brasyn",
        title="BraSyn",
        description="missing brain MR sequence: SSIM, PSNR inside and outside the tumour, lesion-wise Dice and HD95",
        citation="Li et al., The brain tumor segmentation (BraTS) challenge 2023: brain MR image synthesis for tumor "
        "segmentation (BraSyn), arXiv 2305.09011",
        metrics=tuple(_metrics()),
        files="predictions ID/ID-t1n.nii.gz (or t1c, t2f, t2w; one per case), and a truth folder with the same files "
        "and ID/ID-seg.nii.gz; for lesion-wise scores --predicted names the label maps ID.nii.gz of the predictions",
        rule="the mean over cases and metrics of each team's rank in that case and metric (mean rank for ties)",
        unavailable=("The challenge segments with its own models; here --predicted names the label maps",),
    )
