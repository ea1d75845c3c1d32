"""The challenges SynthRAD2023 and SynthRAD2025: their names, metrics and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mtbench

_LAYOUT = (
    "predictions named by their case (ID.mha, sct_ID.nii.gz, ...), and a truth folder with ct/ID.mha and mask/ID.mha, "
    "or ID/ct.nii.gz and ID/mask.nii.gz; --body-mask names the masks if they are elsewhere"
)
_MAE = mtbench.ChallengeMetric("mae", False, "MAE", "HU", 2, (0.0, math.inf))
_PSNR = mtbench.ChallengeMetric("psnr", True, "PSNR", "dB", 2)


@mtbench.hookimpl
def mtbench_challenges() -> Iterator[mtbench.ChallengeSpec]:
    """The challenges ``synthrad2023`` and ``synthrad2025``."""
    yield mtbench.ChallengeSpec(
        "synthrad2023",
        "mtbench_plugins.challenges.synthrad2023:Synthrad2023",
        title="SynthRAD2023",
        description="synthetic CT: MAE, SSIM, PSNR inside the body; ranks by the sum of normalised metrics",
        citation="Huijben et al., Generating synthetic computed tomography for radiotherapy: SynthRAD2023 challenge "
        "report, Medical Image Analysis 97, 2024",
        metrics=(_MAE, mtbench.ChallengeMetric("ssim", True, "SSIM", bounds=(-1.0, 1.0)), _PSNR),
        files=_LAYOUT,
        rule="the sum over metrics of each team's mean, scaled to 0 (worst team) ... 1 (best team)",
        unavailable=("The challenge's dose metrics need treatment plans, which are not public",),
    )
    yield mtbench.ChallengeSpec(
        "synthrad2025",
        "mtbench_plugins.challenges.synthrad2025:Synthrad2025",
        title="SynthRAD2025",
        description="synthetic CT: MAE, PSNR, MS-SSIM inside the body, Dice and HD95 of label maps",
        citation="Thummerer et al., SynthRAD2025 Grand Challenge dataset: generating synthetic CTs for radiotherapy, "
        "Medical Physics 2025",
        params={
            "data_range": mtbench.Param(
                "evaluation",
                choices=("evaluation", "metrics"),
                help="largest CT value: 3071 HU of the evaluation repository, 3000 HU of the metrics repository",
            ),
            "ranking": mtbench.Param(
                "corrected",
                choices=("corrected", "as-published"),
                help="direction of MS-SSIM and Dice: the higher the better, or reversed as in the public rank_teams.py",
            ),
        },
        shorthand="ranking",
        metrics=(
            _MAE,
            _PSNR,
            mtbench.ChallengeMetric("ms_ssim", True, "MS-SSIM", bounds=(-1.0, 1.0)),
            mtbench.ChallengeMetric("DICE", True, "Dice", bounds=(0.0, 1.0)),
            mtbench.ChallengeMetric("HD95", False, "HD95", "mm", 2, (0.0, math.inf)),
        ),
        files=_LAYOUT + "; for Dice and HD95 --predicted names TotalSegmentator's label maps of the predictions, and "
        "--masks (by default segmentation/ID.mha in the truth folder) those of the truth",
        rule="the sum over metrics of each team's mean, scaled to 0 (worst team) ... 1 (best team)",
        unavailable=("The challenge's dose metrics need treatment plans, which are not public",),
    )
