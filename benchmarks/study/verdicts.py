"""What the study's results say: regrets, and how often a metric prefers the better of two candidates.

Three questions, kept apart: which checkpoint of a fit, which fit of a model, which model. A *pair* is two candidates of
one question; a metric agrees on it if its score on validation patients prefers the one whose yardstick on test patients
is better. Ties of the metric count one half, pairs with equal yardsticks not at all. Intervals resample fits within
each model and task (percentiles of 2,000 draws); checkpoints of one fit stay together. Between models there is no
interval: five models are not a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mtbench
from mtbench.analysis.checkpoints import Side, TaskOverTraining, TrainingRun, over_training
from mtbench.analysis.regret import shortfall
from mtbench.compute.seeds import generator

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
YARDSTICKS = ("Placement", "Class error", "Dice[slice, segmenter seed 1]")
TRAIN_ON_TRANSLATED = "Dice, trained on translated"
REVERSE = "-reverse"
"""End of the name of the results by a segmenter that trains on translations of final checkpoints."""
CHOOSING_DICE = "Dice[slice, segmenter seed 0]"
DRAWS = 2_000


@dataclass(frozen=True)
class Candidates:
    """The scores of one task: ``scores[side][run, part]`` are oriented so that more is better; NaN where missing.

    Attributes:
        name: of the task.
        runs: the fits, without the identity.
        models: the model of each fit.
        names, families: of the metrics.
        validation, test: fits x checkpoints (first to last) x metrics.
    """

    name: str
    runs: tuple[TrainingRun, ...]
    models: tuple[str, ...]
    names: tuple[str, ...]
    families: tuple[str, ...]
    validation: Floats
    test: Floats

    def number(self, name: str) -> int:
        """The position of the metric called ``name``."""
        return self.names.index(name)


def candidates(results: Path) -> Candidates:
    """The fits of a results directory that keep checkpoints."""
    (task,) = over_training(mtbench.load(str(results))).tasks
    runs = tuple(run for run in task.runs if len(task.parts(run)) > 1)
    parts = task.parts(runs[0])
    names = tuple(column.name for column in task.columns)
    judged, yardsticks = (_scores(task, runs, parts, side) for side in ("validation", "test"))
    families = tuple(column.family for column in task.columns)
    reverse = results.with_name(results.name + REVERSE)
    if reverse.exists():
        of_fit = _train_on_translated(reverse)
        scores = np.full((*judged.shape[:2], 1), np.nan)
        scores[:, -1, 0] = [of_fit[run.model] for run in runs]
        judged, yardsticks = (np.concatenate([each, scores], axis=2) for each in (judged, yardsticks))
        names, families = (*names, TRAIN_ON_TRANSLATED), (*families, "segmentation")
    models = tuple(run.model.rsplit("-", 1)[0] for run in runs)
    return Candidates(results.name, runs, models, names, families, judged, yardsticks)


def _train_on_translated(results: Path) -> dict[str, float]:
    """Of each translator: Dice on real target test slices of a segmenter that trained on its translations.

    The mean over regions. Its patients are not those of the yardsticks, which are source test patients.
    """
    values: dict[str, list[float]] = {}
    for row in mtbench.load(str(results)).to_pylist():
        if row["role"] == "translator":
            values.setdefault(row["translator"], []).append(row["value"])
    return {name: float(np.mean(scores)) for name, scores in values.items()}


def _scores(task: TaskOverTraining, runs: Sequence[TrainingRun], parts: Sequence[int], side: Side) -> Floats:
    sign = [1.0 if column.higher_is_better else -1.0 for column in task.columns]
    return np.array(
        [
            [[task.values.get((run, part, side, n), np.nan) * s for n, s in enumerate(sign)] for part in parts]
            for run in runs
        ]
    )


def agreement(judged: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """For all pairs of n candidates: 1 if they agree, 0.5 if the metric ties, else 0; and 1 if there is a verdict.

    Returns:
        Two symmetric n x n matrices with an empty diagonal.
    """
    better, preferred = (np.sign(each[:, None] - each[None, :]) for each in (truth, judged))
    verdict = np.isfinite(better + preferred) & (better != 0)
    return np.where(verdict, 0.5 + 0.5 * better * preferred, 0.0), verdict.astype(np.float64)


@dataclass(frozen=True)
class Estimate:
    """A number, its bootstrap draws (none: no interval), and the number of pairs or fits behind it."""

    value: float
    draws: Floats
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, percentiles; NaN without draws."""
        if not len(self.draws):
            return float("nan"), float("nan")
        low, high = np.nanquantile(self.draws, [0.025, 0.975])
        return float(low), float(high)

    def less(self, other: Estimate) -> Estimate:
        """The difference; draws are paired, because both resample the same fits."""
        count = min(self.count, other.count)
        return Estimate(self.value - other.value, self.draws - other.draws if count else np.empty(0), count)

    def text(self, form: str = ".2f") -> str:
        """For a table."""
        if not self.count:
            return "–"
        ends = ", ".join(f"{end:{form}}" for end in self.interval)
        return f"{self.value:{form}}" + (f" [{ends}]" if len(self.draws) else "")


def checkpoints(task: Candidates, metric: int, yardstick: int) -> Estimate:
    """Agreement on pairs of checkpoints of one fit."""
    pairs = [agreement(task.validation[i, :, metric], task.test[i, :, yardstick]) for i in range(len(task.runs))]
    counts = np.array([[matrix.sum() / 2 for matrix in pair] for pair in pairs])
    return _ratio(counts.sum(axis=0), _times(task.name, task.models) @ counts)


def fits(task: Candidates, metric: int, yardstick: int) -> Estimate:
    """Agreement on pairs of final checkpoints of fits of one model."""
    alike = np.array(task.models)[:, None] == np.array(task.models)[None, :]
    pairs = [m * alike for m in agreement(task.validation[:, -1, metric], task.test[:, -1, yardstick])]
    times = _times(task.name, task.models)
    drawn = np.stack([((times @ matrix) * times).sum(axis=1) / 2 for matrix in pairs], axis=1)
    return _ratio(np.array([matrix.sum() / 2 for matrix in pairs]), drawn)


def models(task: Candidates, metric: int, yardstick: int) -> Estimate:
    """Agreement on pairs of models, each with the mean of its final checkpoints; no interval."""
    groups = _groups(task.models)
    judged = np.array([task.validation[group, -1, metric].mean() for group in groups])
    truth = np.array([task.test[group, -1, yardstick].mean() for group in groups])
    return _ratio(np.array([matrix.sum() / 2 for matrix in agreement(judged, truth)]), np.empty((0, 2)))


def regret(task: Candidates, metric: int, yardstick: int) -> Estimate:
    """Mean regret of the checkpoint that a metric chooses."""
    each, times = regrets(task, metric, yardstick), _times(task.name, task.models)
    known = np.isfinite(each)
    if not known.any():
        return Estimate(float("nan"), np.empty(0), 0)
    drawn = (times[:, known] @ each[known]) / times[:, known].sum(axis=1)
    return Estimate(float(each[known].mean()), drawn, int(known.sum()))


def _groups(models: Sequence[str]) -> list[Positions]:
    """The fits of each model."""
    return [np.flatnonzero(np.array(models) == model) for model in dict.fromkeys(models)]


@cache
def _times(name: str, models: tuple[str, ...]) -> Floats:
    """How often each draw takes each fit (draws x fits), within models; the same for every number of a task."""
    rng, times = generator("study", name), np.zeros((DRAWS, len(models)))
    for group in _groups(models):
        times[:, group] = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), DRAWS)
    return times


def _ratio(counts: Floats, drawn: Floats) -> Estimate:
    """Agreement from the number of agreements and of pairs; ``drawn``: the same in each draw, draws x 2."""
    total, pairs = counts
    if not pairs:
        return Estimate(float("nan"), np.empty(0), 0)
    with np.errstate(invalid="ignore"):
        return Estimate(total / pairs, drawn[:, 0] / drawn[:, 1], int(pairs))


LAST, RANDOM = -1, -2
"""In place of a metric: the final checkpoint, and one drawn at random."""


def regrets(task: Candidates, metric: int, yardstick: int) -> Floats:
    """Of each fit: how much worse the chosen checkpoint is on test patients than the best; NaN without a score."""
    truth = task.test[:, :, yardstick]
    if metric == LAST:
        judged = np.broadcast_to(np.arange(truth.shape[1], dtype=np.float64), truth.shape)
    else:
        judged = np.zeros_like(truth) if metric == RANDOM else task.validation[:, :, metric]
    known = np.isfinite(judged + truth).all(axis=1)
    return np.array([shortfall(*pair) if ok else np.nan for *pair, ok in zip(judged, truth, known, strict=True)])


def tables(results: Sequence[Path]) -> Iterator[str]:
    """The lines of the tables of every task, in Markdown."""
    tasks = [candidates(path) for path in results]
    for task in tasks:
        of_checkpoints = [i for i, name in enumerate(task.names) if name != TRAIN_ON_TRANSLATED]
        missing = int(np.isnan(task.test[:, :, of_checkpoints]).any(axis=(1, 2)).sum())
        yield f"\n### {task.name}\n"
        yield f"{len(task.runs)} fits, {task.test.shape[1]} checkpoints each; {missing} lack a score.\n"
        for name in YARDSTICKS:
            yield from _table(task, task.number(name))


def hypotheses(results: Sequence[Path]) -> Iterator[str]:
    """The lines of the table of verdicts, in Markdown."""
    tasks = [candidates(path) for path in results]
    yield f"| hypothesis | {' | '.join(task.name for task in tasks)} |"
    yield "|---|" + "---|" * len(tasks)
    for name, verdict in HYPOTHESES.items():
        yield f"| {name} | {' | '.join(verdict(task) for task in tasks)} |"


def summary(results: Sequence[Path]) -> Iterator[str]:
    """The lines of one table of all tasks, by placement, in Markdown."""
    tasks = [candidates(path) for path in results]
    yield "| chosen by | " + " | ".join(f"checkpoints: {task.name} | fits: {task.name}" for task in tasks) + " |"
    yield "|---|" + "---|---|" * len(tasks)
    for name in dict.fromkeys(name for task in tasks for name in task.names):
        pairs = [(task, task.number(name), task.number(YARDSTICKS[0])) for task in tasks]
        cells = [of(*pair).text() for pair in pairs for of in (checkpoints, fits)]
        yield f"| {name} | {' | '.join(cells)} |"


def regret_summary(results: Sequence[Path]) -> Iterator[str]:
    """The lines of a table of regrets in placement less that of the last checkpoint, by task, in Markdown."""
    tasks = [candidates(path) for path in results]
    yield f"| checkpoint chosen by | {' | '.join(task.name for task in tasks)} |"
    yield "|---|" + "---|" * len(tasks)
    names = [*dict.fromkeys(name for task in tasks for name in task.names if name != TRAIN_ON_TRANSLATED), "at random"]
    for name in names:
        cells = []
        for task in tasks:
            yardstick = task.number(YARDSTICKS[0])
            chosen = RANDOM if name == "at random" else task.number(name)
            last = regret(task, LAST, yardstick)
            cells.append(regret(task, chosen, yardstick).less(last).text("+.3f"))
        yield f"| {name} | {' | '.join(cells)} |"


def _table(task: Candidates, yardstick: int) -> Iterator[str]:
    name = task.names[yardstick]
    yield f"\nYardstick: {name}\n"
    heads = ("chosen by", "checkpoints", "fits of a model", "models", f"regret in {name}", "less that of the last")
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---|---|---|---|"
    last = regret(task, LAST, yardstick)
    for metric, judge in enumerate(task.names):
        shares = " | ".join(of(task, metric, yardstick).text() for of in (checkpoints, fits, models))
        own = regret(task, metric, yardstick)
        value = f"{own.value:.4f}" if own.count else "–"
        yield f"| {judge} | {shares} | {value} | {own.less(last).text('+.4f')} |"
    drawn = regret(task, RANDOM, yardstick)
    yield f"| the last checkpoint | | | | {last.value:.4f} | |"
    yield f"| at random | 0.50 | 0.50 | 0.50 | {drawn.value:.4f} | {drawn.less(last).text('+.4f')} |"


def _verdict(estimate: Estimate, bound: float, text: str) -> str:
    """Whether a number is below ``bound``: "holds" or "contradicted" if its interval says so, else "open"."""
    low, high = estimate.interval
    word = "holds" if high <= bound else "contradicted" if low > bound else "open"
    return f"{word}: {text} {estimate.text('+.3f')}"


def _last_is_hard_to_beat(task: Candidates) -> str:
    yardstick, last = task.number("Placement"), regret(task, LAST, task.number("Placement"))
    gains = {
        name: regret(task, metric, yardstick).less(last)
        for metric, (name, family) in enumerate(zip(task.names, task.families, strict=True))
        if family == "perceptual"
    }
    beaten = [name for name, gain in gains.items() if gain.interval[1] < 0]
    undecided = [name for name, gain in gains.items() if gain.interval[0] < 0 <= gain.interval[1]]
    if beaten:
        return f"contradicted by {', '.join(beaten)}"
    return f"open for {len(undecided)} of {len(gains)} metrics" if undecided else f"holds for all {len(gains)} metrics"


def _segmenter_beats_swd(task: Candidates) -> str:
    of = [regret(task, task.number(name), task.number("Placement")) for name in (CHOOSING_DICE, "SWD[karras]")]
    return _verdict(of[0].less(of[1]), 0.0, "regret of Dice less that of SWD")


def _swd_cannot_choose_fits(task: Candidates) -> str:
    return _verdict(fits(task, task.number("SWD[karras]"), task.number("Placement")), 0.5, "agreement")


def _questions_come_apart(task: Candidates) -> str:
    yardstick = task.number("Placement")
    able = [
        metric
        for metric in range(len(task.names))
        if metric != yardstick and checkpoints(task, metric, yardstick).interval[0] > 0.5
    ]
    on_fits = {task.names[metric]: fits(task, metric, yardstick).interval for metric in able}
    apart = [name for name, (_, high) in on_fits.items() if high <= 0.5]
    if apart:
        return f"holds for {', '.join(apart)}"
    undecided = sum(low <= 0.5 for low, _ in on_fits.values())
    return f"open for {undecided} of {len(able)} metrics" if undecided else f"contradicted by all {len(able)} metrics"


def _truth_leads(task: Candidates) -> str:
    swd, mae = (fits(task, task.number(name), task.number("Placement")) for name in ("SWD[karras]", "MAE"))
    return _verdict(swd.less(mae), 0.0, "agreement of SWD less that of MAE")


def _reverse_chooses_fits(task: Candidates) -> str:
    if TRAIN_ON_TRANSLATED not in task.names:
        return "not scored"
    estimate = fits(task, task.number(TRAIN_ON_TRANSLATED), task.number("Placement"))
    low, high = estimate.interval
    word = "holds" if low > 0.5 else "contradicted" if high <= 0.5 else "open"
    return f"{word}: agreement {estimate.text('.3f')}"


def _learned_features_help(task: Candidates) -> str:
    names = ("MMD²[radiomics]", "MMD²[self-supervised]")
    if names[1] not in task.names:
        return "not scored"
    plain, learned = (checkpoints(task, task.number(name), task.number("Placement")) for name in names)
    return _verdict(plain.less(learned), 0.0, "agreement of radiomics less that of learned features")


HYPOTHESES: Mapping[str, Callable[[Candidates], str]] = {
    "1 the last checkpoint is hard to beat": _last_is_hard_to_beat,
    "2 Dice chooses checkpoints better than SWD": _segmenter_beats_swd,
    "3 SWD cannot choose a fit": _swd_cannot_choose_fits,
    "4 the questions come apart": _questions_come_apart,
    "5 MAE leads SWD on fits": _truth_leads,
    "6 learned features help": _learned_features_help,
    "7 train-on-translated chooses fits": _reverse_chooses_fits,
}
"""As docs/metric-study.md states them."""
