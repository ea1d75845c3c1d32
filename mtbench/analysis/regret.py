"""Regret: the cost of choosing the checkpoint, the fit or the translator by a metric on validation patients.

A *pool* is a set of candidates of which one is chosen: the checkpoints of one fit, the fits of one
translator (its seeds), or the translators of a task. The metric chooses the candidate with its best score on
validation patients; the regret is how much worse that candidate is on test patients than the best of the pool.

The interval of a mean regret resamples translators, each with all its fits, because fits of one translator are alike.
With one translator it resamples fits. Checkpoints of one fit are never resampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench.analysis.checkpoints import Column, TaskOverTraining, TrainingRun
from mtbench.compute.means import patient_mean, totals

Choice = Literal["checkpoint", "fit", "translator"]
CHOICES: tuple[Choice, ...] = ("checkpoint", "fit", "translator")
RANDOM, LAST = "random", "last"
"""What metrics are compared with: a candidate drawn at random (the mean of all), and the final checkpoint."""

FEWEST = 5
"""Translators, or fits of one translator, that an interval needs."""


@dataclass(frozen=True)
class Regret:
    """The mean regret of one way to choose.

    Attributes:
        task: its title.
        choice: what is chosen.
        by: the metric that chooses, or "random" or "last".
        against: the metric that says how good the choice is, on test patients; the regret is in its unit.
        value: mean over pools, 0 or more; ``None`` without a pool.
        pools: how many entered.
        of: how many there are; those that lack a score of ``by`` or of ``against`` do not enter.
        best: mean score of the best candidates (the test oracle, whose regret is 0), over the pools that entered.
        interval: 95 % confidence interval of ``value``; ``None`` with fewer than ``FEWEST`` translators (or fits of one
            translator).
    """

    task: str
    choice: Choice
    by: str
    against: str
    value: float | None
    pools: int
    of: int
    best: float | None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Pool:
    """Candidates.

    Attributes:
        scores: of each candidate, by side and column.
        model: whose candidates they are; "" for the translators of a task.
        last: which of them is the final checkpoint.
    """

    scores: Sequence[Mapping[tuple[str, int], float]]
    model: str = ""
    last: int | None = None


def regrets(task: TaskOverTraining, *, conditional: bool = False) -> list[Regret]:
    """The regret of every metric and of the baselines, against every segmentation metric and every error.

    Args:
        task: the scores over training.
        conditional: whether to include conditional translators, whose Dice is circular.
    """
    results = []
    outcomes = [number for number, column in enumerate(task.columns) if column.is_outcome]
    runs = [run for run in task.runs if conditional or not run.conditional]
    for choice in CHOICES:
        pools = list(_POOLS[choice](task, runs))
        for outcome in outcomes if pools else ():
            ways: list[tuple[str, int | None]] = [(RANDOM, None), *([(LAST, None)] if choice == "checkpoint" else [])]
            ways += [(column.name, number) for number, column in enumerate(task.columns)]
            results += [_regret(task, choice, name, number, outcome, pools) for name, number in ways]
    return results


def _regret(
    task: TaskOverTraining, choice: Choice, name: str, number: int | None, outcome: int, pools: Sequence[_Pool]
) -> Regret:
    against = task.columns[outcome]
    results = [(pool.model, _of_pool(pool, name, number, outcome, task.columns)) for pool in pools]
    entered = [(model, *one) for model, one in results if one is not None]
    if not entered:
        return Regret(task.title, choice, name, against.name, None, 0, len(pools), None)
    models, values, best = zip(*entered, strict=True)
    of, interval = (len(entered), len(pools)), _interval(values, models)
    return Regret(task.title, choice, name, against.name, float(np.mean(values)), *of, float(np.mean(best)), interval)


def _interval(values: Sequence[float], models: Sequence[str]) -> tuple[float, float] | None:
    """Of the mean regret, with translators as clusters; a regret is never below 0."""
    clusters = models if len(set(models)) > 1 else [str(number) for number in range(len(values))]
    if len(set(clusters)) < FEWEST or "" in models:
        return None
    low, high = patient_mean(*totals(values, clusters)).interval()
    return max(low, 0.0), high


def _of_pool(
    pool: _Pool, name: str, number: int | None, outcome: int, columns: Sequence[Column]
) -> tuple[float, float] | None:
    """The regret in one pool, and the score of its best candidate; ``None`` where a score is missing."""
    try:
        quality = np.array([candidate["test", outcome] for candidate in pool.scores])
        if number is not None:
            judged = np.array([candidate["validation", number] for candidate in pool.scores])
            judged = judged if columns[number].higher_is_better else -judged
        elif name == RANDOM:
            judged = np.zeros(len(quality))
        elif pool.last is not None:
            judged = np.arange(len(quality)) == pool.last
        else:
            return None
    except KeyError:
        return None
    sign = 1 if columns[outcome].higher_is_better else -1
    return shortfall(judged, sign * quality), float(sign * (sign * quality).max())


def shortfall(judged: NDArray[Any], quality: NDArray[np.float64]) -> float:
    """How much worse the candidate that is judged best is than the best one; of equals, any: their mean.

    Args:
        judged, quality: of each candidate; more is better.
    """
    return float(quality.max() - quality[judged == judged.max()].mean())


def _scores(task: TaskOverTraining, run: TrainingRun, part: int) -> dict[tuple[str, int], float]:
    sides = ("test", "validation")
    places = ((side, number) for side in sides for number in range(len(task.columns)))
    return {
        (side, number): task.values[run, part, side, number]  # type: ignore[index]  # the sides are those of Side
        for side, number in places
        if (run, part, side, number) in task.values
    }


def _checkpoints(task: TaskOverTraining, runs: Sequence[TrainingRun]) -> Iterator[_Pool]:
    for run in runs:
        parts = task.parts(run)
        if len(parts) > 1:
            last = parts.index(1) if 1 in parts else None
            yield _Pool([_scores(task, run, part) for part in parts], run.model, last)


def _fits(task: TaskOverTraining, runs: Sequence[TrainingRun]) -> Iterator[_Pool]:
    seeds: dict[tuple[str, int | None], list[TrainingRun]] = {}
    for run in runs:
        seeds.setdefault((run.model, run.fold), []).append(run)
    for (model, _), alike in seeds.items():
        if len(alike) > 1:
            yield _Pool([_scores(task, run, 1) for run in alike], model)


def _translators(task: TaskOverTraining, runs: Sequence[TrainingRun]) -> Iterator[_Pool]:
    folds: dict[int | None, dict[str, list[TrainingRun]]] = {}
    for run in runs:
        folds.setdefault(run.fold, {}).setdefault(run.model, []).append(run)
    for models in folds.values():
        if len(models) > 1:
            yield _Pool([_mean([_scores(task, run, 1) for run in alike]) for alike in models.values()])


def _mean(seeds: Sequence[Mapping[tuple[str, int], float]]) -> dict[tuple[str, int], float]:
    """The mean over seeds of the scores that all of them have."""
    shared = set(seeds[0]).intersection(*seeds[1:])
    return {place: float(np.mean([scores[place] for scores in seeds])) for place in shared}


_POOLS = {"checkpoint": _checkpoints, "fit": _fits, "translator": _translators}
