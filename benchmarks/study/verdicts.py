"""What the study's results say: regrets, and how often a metric prefers the better of two candidates.

Three questions, kept apart: which checkpoint of a fit, which fit of a model, which model. A *pair* is two candidates of
one question; a metric agrees on it if its score on validation patients prefers the one whose yardstick on test patients
is better. Ties of the metric count one half, pairs with equal yardsticks not at all. Intervals resample fits within
each model and task (percentiles of 2,000 draws); checkpoints of one fit stay together. Between models there is no
interval: five models are not a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mtbench
from mtbench.analysis.checkpoints import Column, Side, TaskOverTraining, TrainingRun, over_training
from mtbench.compute.seeds import generator

Floats = NDArray[np.float64]
YARDSTICKS = ("Placement", "Class error")
DRAWS = 2_000


@dataclass(frozen=True)
class Candidates:
    """The scores of one task: ``scores[side][run, part]`` are oriented so that more is better; NaN where missing.

    Attributes:
        name: of the task.
        runs: the fits, without the identity.
        models: the model of each fit.
        columns: the metrics.
        validation, test: fits x checkpoints (first to last) x metrics.
    """

    name: str
    runs: tuple[TrainingRun, ...]
    models: tuple[str, ...]
    columns: tuple[Column, ...]
    validation: Floats
    test: Floats

    def number(self, name: str) -> int:
        """The position of the metric called ``name``."""
        (position,) = (i for i, column in enumerate(self.columns) if column.name == name)
        return position


def candidates(results: Path) -> Candidates:
    """The fits of a results directory that keep checkpoints."""
    (task,) = over_training(mtbench.load(str(results))).tasks
    runs = tuple(run for run in task.runs if len(task.parts(run)) > 1)
    parts = task.parts(runs[0])
    return Candidates(
        results.name,
        runs,
        tuple(run.model.rsplit("-", 1)[0] for run in runs),
        tuple(task.columns),
        _scores(task, runs, parts, "validation"),
        _scores(task, runs, parts, "test"),
    )


def _scores(task: TaskOverTraining, runs: Sequence[TrainingRun], parts: Sequence[int], side: Side) -> Floats:
    sign = [1.0 if column.higher_is_better else -1.0 for column in task.columns]
    return np.array(
        [
            [[task.values.get((run, part, side, n), np.nan) * s for n, s in enumerate(sign)] for part in parts]
            for run in runs
        ]
    )


def agreement(judged: Floats, truth: Floats) -> tuple[float, int]:
    """The sum of agreements over all pairs of n candidates, and the number of pairs with a verdict."""
    total, pairs = 0.0, 0
    for a, b in combinations(range(len(judged)), 2):
        better, preferred = truth[a] - truth[b], judged[a] - judged[b]
        if better and np.isfinite(better + preferred):
            total += 0.5 + 0.5 * np.sign(better) * np.sign(preferred)
            pairs += 1
    return total, pairs


@dataclass(frozen=True)
class Share:
    """The share of pairs on which a metric agrees with a yardstick; the interval is NaN where there is none."""

    value: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        """For a table."""
        if not self.pairs:
            return "–"
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if np.isfinite(self.low) else ""
        return f"{self.value:.2f}{interval}"


def of_checkpoints(task: Candidates, metric: int, yardstick: int) -> Share:
    """Pairs of checkpoints of one fit."""
    rows = range(len(task.runs))
    counts = np.array([agreement(task.validation[i, :, metric], task.test[i, :, yardstick]) for i in rows])
    groups = _groups(task)
    rng = generator("study", "checkpoints", task.name)
    draws = []
    for _ in range(DRAWS):
        total, pairs = counts[np.concatenate([rng.choice(group, len(group)) for group in groups])].sum(axis=0)
        draws.append(total / pairs if pairs else np.nan)
    return _share(counts.sum(axis=0), draws)


def of_fits(task: Candidates, metric: int, yardstick: int) -> Share:
    """Pairs of final checkpoints of fits of one model."""
    judged, truth, groups = task.validation[:, -1, metric], task.test[:, -1, yardstick], _groups(task)

    def of(chosen: Sequence[NDArray[np.int64]]) -> Floats:
        counts: Floats = np.array([agreement(judged[group], truth[group]) for group in chosen])
        return np.asarray(counts.sum(axis=0))

    rng = generator("study", "fits", task.name)
    draws = []
    for _ in range(DRAWS):
        total, pairs = of([rng.choice(group, len(group)) for group in groups])
        draws.append(total / pairs if pairs else np.nan)
    return _share(of(groups), draws)


def of_models(task: Candidates, metric: int, yardstick: int) -> Share:
    """Pairs of models, each with the mean of its final checkpoints."""
    groups = _groups(task)
    judged = np.array([task.validation[group, -1, metric].mean() for group in groups])
    truth = np.array([task.test[group, -1, yardstick].mean() for group in groups])
    return _share(np.array(agreement(judged, truth)), [])


def _groups(task: Candidates) -> list[NDArray[np.int64]]:
    return [np.flatnonzero(np.array(task.models) == model) for model in dict.fromkeys(task.models)]


def _share(counts: Floats, draws: Sequence[float]) -> Share:
    total, pairs = counts
    low, high = np.nanquantile(draws, [0.025, 0.975]) if draws else (np.nan, np.nan)
    return Share(total / pairs if pairs else np.nan, float(low), float(high), int(pairs))


def difference(task: Candidates, first: int, second: int, yardstick: int) -> tuple[float, float, float]:
    """Mean regret of ``first`` less that of ``second`` in choosing the checkpoint, with its interval."""
    regret = np.array([regrets(task, metric, yardstick) for metric in (first, second)])
    each = regret[0] - regret[1]
    rng, groups = generator("study", "difference", task.name), _groups(task)
    draws = [np.nanmean(each[np.concatenate([rng.choice(g, len(g)) for g in groups])]) for _ in range(DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.nanmean(each)), float(low), float(high)


LAST, RANDOM = -1, -2
"""In place of a metric: the final checkpoint, and one drawn at random."""


def regrets(task: Candidates, metric: int, yardstick: int) -> Floats:
    """Of each fit: how much worse the chosen checkpoint is on test patients than the best; NaN without a score."""
    truth = task.test[:, :, yardstick]
    if metric == LAST:
        got = truth[:, -1]
    elif metric == RANDOM:
        got = truth.mean(axis=1)
    else:
        judged = task.validation[:, :, metric]
        best = judged == judged.max(axis=1, keepdims=True)
        got = np.where(best, truth, 0).sum(axis=1) / np.where(best.any(axis=1), best.sum(axis=1), np.nan)
    return np.asarray(truth.max(axis=1) - got)


def tables(results: Sequence[Path]) -> Iterator[str]:
    """The lines of the tables of every task, in Markdown."""
    for path in results:
        task = candidates(path)
        yield f"\n### {task.name}: {len(task.runs)} fits, {task.test.shape[1]} checkpoints each\n"
        for name in YARDSTICKS:
            yield from _table(task, task.number(name))


def _table(task: Candidates, yardstick: int) -> Iterator[str]:
    name = task.columns[yardstick].name
    yield f"\nYardstick: {name}\n"
    yield f"| metric | checkpoints | fits of a model | models | regret in {name}, less that of the last checkpoint |"
    yield "|---|---|---|---|---|"
    for metric, column in enumerate(task.columns):
        shares = (of(task, metric, yardstick) for of in (of_checkpoints, of_fits, of_models))
        mean, low, high = difference(task, metric, LAST, yardstick)
        yield f"| {column.name} | {' | '.join(map(str, shares))} | {mean:+.4f} [{low:+.4f}, {high:+.4f}] |"
    mean, low, high = difference(task, RANDOM, LAST, yardstick)
    yield f"| at random | 0.50 | 0.50 | 0.50 | {mean:+.4f} [{low:+.4f}, {high:+.4f}] |"
