"""The results file and the ranking rule that both SynthRAD challenges use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtbench import CaseScores, ChallengeMetric, Ranking, Submission, Team
from mtbench_plugins.challenges import ct_files

UNPUBLISHED = ("mae_target_photon", "mae_target_proton", "dvh_photon", "dvh_proton", "gamma_photon", "gamma_proton")
"""The dose metrics, as ``rank_teams.py`` names them: they need treatment plans, which are not public."""

HIGHER = ("psnr", "ssim", "gamma_photon", "gamma_proton")
"""The metrics that ``rank_teams.py`` ranks by their highest value; it ranks all others by their lowest."""


class SynthradFile:
    """What both challenges share: the results file, its reader, and an example of a submission."""

    def document(self, scores: Sequence[CaseScores]) -> Mapping[str, Any]:
        """``metrics.json`` as ``evaluate.py`` writes it, with the aggregates that ``rank_teams.py`` reads."""
        return document(scores)

    def read_document(self, document: Any) -> Mapping[str, Mapping[str, float]] | None:
        """The values of ``metrics.json``."""
        return read_document(document)

    def example(self, folder: Path) -> Submission:
        """See :func:`mtbench_plugins.challenges.ct_files.example`."""
        return ct_files.example(folder)


def document(scores: Sequence[CaseScores]) -> Mapping[str, Any]:
    """``metrics.json``: the values of each case, and the statistics over cases by metric."""
    results = [dict(score.values) for score in scores]
    aggregates: dict[str, Any] = {}
    for metric in results[0] if results else ():
        values = [result[metric] for result in results]
        with np.errstate(invalid="ignore"):  # the spread of infinite values is NaN, as in the programs
            low, middle, high = (float(np.quantile(values, q)) for q in (0.25, 0.5, 0.75))
            spread = float(np.std(values))
        aggregates[metric] = {
            "mean": float(np.mean(values)),
            "max": float(np.max(values)),
            "min": float(np.min(values)),
            "std": spread,
            "25pc": low,
            "50pc": middle,
            "75pc": high,
            "count": len(values),
        }
    return {"results": results, "aggregates": aggregates}


def read_document(document: Any) -> Mapping[str, Mapping[str, float]] | None:
    """The values of ``metrics.json`` by metric and place of the case, or the means if there are only aggregates."""
    if not isinstance(document, dict) or not isinstance(document.get("aggregates"), dict):
        return None
    results = document.get("results") or []
    if results:
        return {name: {str(k): float(each[name]) for k, each in enumerate(results)} for name in results[0]}
    return {name: {"": float(values["mean"])} for name, values in document["aggregates"].items()}


def normalised_sum(teams: Sequence[Team], metrics: Sequence[ChallengeMetric], remarks: tuple[str, ...]) -> Ranking:
    """Each metric's mean scaled to 0 (worst team) ... 1 (best team), and summed; 0.5 if all teams are equal."""
    totals = {team.name: 0.0 for team in teams}
    for metric in metrics:
        means = {team.name: team.mean(metric.name) for team in teams}
        low, high = min(means.values()), max(means.values())
        worst, best = (low, high) if metric.higher_is_better else (high, low)
        for name, mean in means.items():
            totals[name] += 0.5 if best == worst else (mean - worst) / (best - worst)
    names = tuple(metric.name for metric in metrics)
    if without := [name for name in UNPUBLISHED if name not in names]:
        remarks = (*remarks, "Ranked without the dose metrics " + ", ".join(without))
    return Ranking.of(totals, "sum of normalised metrics", higher_is_better=True, metrics=names, remarks=remarks)
