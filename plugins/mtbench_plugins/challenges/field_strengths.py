"""The challenge MRIxFields2026: its names, metrics and parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_challenges() -> Iterator[mtbench.ChallengeSpec]:
    """The challenge ``mrixfields2026``."""
    yield mtbench.ChallengeSpec(
        "mrixfields2026",
        "mtbench_plugins.challenges.mrixfields2026:Mrixfields2026",
        title="MRIxFields2026",
        description="MR images of other field strengths: nRMSE, SSIM, Dice and volumes of deep grey matter",
        citation="MRIxFields2026 challenge, evaluation code of github.com/MRIxFields/MRIxFields2026, 2026",
        params={
            "task": mtbench.Param(
                "folder",
                choices=("folder", "task1", "task2", "task3"),
                help="the task; folder: the name of both folders, as the challenge's program requires",
            ),
            "ranking": mtbench.Param(
                "rank-sum",
                choices=("rank-sum", "primary"),
                help="the sum of ranks over metrics, as in the description, or the primary score of score.py",
            ),
        },
        shorthand="ranking",
        metrics=(
            mtbench.ChallengeMetric("nRMSE", False, bounds=(0.0, math.inf)),
            mtbench.ChallengeMetric("SSIM", True, bounds=(-1.0, 1.0)),
            mtbench.ChallengeMetric("Dice", True, bounds=(0.0, 1.0)),
            mtbench.ChallengeMetric("Volume", True, bounds=(-math.inf, 1.0)),
        ),
        files="two folders with the name of the task (task1, task2, task3): predictions in "
        "{T1W,T2W,T2FLAIR}/{0.1T_to_7T,...}/pred/P_T1W_7T_0001.nii.gz, label maps in seg/P_T1W_7T_0001_seg.nii.gz "
        "beside pred/, and the truth under the same names in gt/ and gt_seg/",
        rule="the sum over metrics of each team's rank by its mean; or the mean SSIM alone (ranking=primary)",
        unavailable=("The challenge's LPIPS needs downloaded weights and is not computed",),
    )
