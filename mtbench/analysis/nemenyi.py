"""Differences between methods over many tasks: Friedman's test and Nemenyi's critical difference of mean ranks.

After Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006 (section 3.2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENOUGH_TASKS = 5
"""With fewer tasks, even methods with the same order on all tasks rarely differ significantly."""

FEWEST_METHODS = 3
LEVEL = 0.05


@dataclass(frozen=True)
class CriticalDifference:
    """Mean ranks of methods over tasks, and the distance at which they differ significantly.

    Attributes:
        side: which result: "a" or "b".
        metric: its name.
        tasks: number of tasks.
        ranks: method to mean rank, best first; 1 is best, ties share their mean rank.
        friedman_p: p of the hypothesis that all methods perform equally.
        difference: Nemenyi's critical difference at 5 %.
        groups: largest sets of methods without a significant difference; a single method forms no group.
    """

    side: str
    metric: str
    tasks: int
    ranks: Mapping[str, float]
    friedman_p: float
    difference: float
    groups: tuple[tuple[str, ...], ...]


def critical_difference(side: str, metric: str, ranks: Mapping[str, Sequence[float]]) -> CriticalDifference | None:
    """Mean ranks and their critical difference.

    Args:
        side, metric: for the record.
        ranks: of each method on each task; ties share their mean rank.

    Returns:
        ``None`` with fewer than ``ENOUGH_TASKS`` tasks or ``FEWEST_METHODS`` methods.
    """
    from scipy.stats import friedmanchisquare

    table = np.asarray(list(ranks.values()), dtype=np.float64)
    if len(table) < FEWEST_METHODS or table.shape[1] < ENOUGH_TASKS:
        return None
    means = dict(sorted(zip(ranks, table.mean(axis=1).tolist(), strict=True), key=lambda item: item[1]))
    # If all methods tie on every task, the statistic is 0 / 0.
    p = 1.0 if np.ptp(table) == 0 else float(friedmanchisquare(*table).pvalue)
    reach = nemenyi(len(table), table.shape[1])
    return CriticalDifference(side, metric, table.shape[1], means, p, reach, _groups(means, reach))


def nemenyi(methods: int, tasks: int, level: float = LEVEL) -> float:
    """The critical difference of mean ranks: q of the studentised range over sqrt(2), times the standard error."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - level, methods, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * tasks)))


def _groups(means: Mapping[str, float], reach: float) -> tuple[tuple[str, ...], ...]:
    names, values = list(means), np.asarray(list(means.values()))
    groups: list[tuple[str, ...]] = []
    end = 0
    for i in range(len(names)):
        last = int(np.searchsorted(values, values[i] + reach, side="left"))
        if last - i > 1 and last > end:
            groups.append(tuple(names[i:last]))
            end = last
    return tuple(groups)


def shared_places(values: NDArray[np.float64], higher_is_better: bool) -> NDArray[np.float64]:
    """The ranks of values: 1 is best, ties share their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-values if higher_is_better else values), dtype=np.float64)
