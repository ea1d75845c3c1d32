"""Ranks within each case and metric, averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtbench import ChallengeMetric, Ranking, Team


def mean_rank(teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
    """Rank the teams in each case and metric (equal values share their mean rank), then average all ranks.

    A metric excludes cases for which a team has no value, and a remark counts them.
    """
    from scipy.stats import rankdata

    ranks: list[list[float]] = []
    left_out = 0
    for metric in metrics:
        by_team = [team.scores[metric.name] for team in teams]
        cases = [case for case in by_team[0] if all(case in values for values in by_team)]
        left_out += len({case for values in by_team for case in values}) - len(cases)
        sign = -1 if metric.higher_is_better else 1
        ranks += [rankdata([sign * values[case] for values in by_team]).tolist() for case in cases]
    means = np.mean(ranks, axis=0)
    remarks: tuple[str, ...] = ()
    if left_out:
        remarks = (f"{left_out} values of cases and metrics are excluded, because not every team has them",)
    return _ranking("mean rank", teams, means, metrics, remarks)


def rank_sum(teams: Sequence[Team], metrics: Sequence[ChallengeMetric], remarks: tuple[str, ...]) -> Ranking:
    """Rank the teams by their mean in each metric (equal means share their mean rank), then add the ranks."""
    from scipy.stats import rankdata

    totals = np.zeros(len(teams))
    for metric in metrics:
        sign = -1 if metric.higher_is_better else 1
        totals += rankdata([sign * team.mean(metric.name) for team in teams])
    return _ranking("sum of ranks", teams, totals, metrics, remarks)


def _ranking(
    name: str,
    teams: Sequence[Team],
    totals: NDArray[np.float64],
    metrics: Sequence[ChallengeMetric],
    remarks: tuple[str, ...],
) -> Ranking:
    of_team = {team.name: float(total) for team, total in zip(teams, totals, strict=True)}
    names = tuple(metric.name for metric in metrics)
    return Ranking.of(of_team, name, higher_is_better=False, metrics=names, remarks=remarks)
