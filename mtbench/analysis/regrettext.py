"""Regrets as tables of text, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mtbench.analysis.checkpoints import TaskOverTraining
from mtbench.analysis.numbers import format_number
from mtbench.analysis.regret import CHOICES, LAST, RANDOM, Regret, regrets

LEGEND = (
    "Scores: means over seeds, folds and regions.",
    "Regret: the metric chooses the candidate with its best score on validation patients.",
    "It is how much worse that candidate is on test patients than the best one (the test oracle). 0 is best.",
    "Candidates: the checkpoints of a fit (mean over fits), the fits of a translator (mean over translators),",
    "the translators of a task (mean over folds). random: the mean of all; last: the final checkpoint.",
    "[95 % confidence interval]: over translators, each with all its fits; over fits if there is one translator.",
    "A segmenter is early-stopped on the same validation patients. Choose by one seed of it and measure by another.",
)


@dataclass(frozen=True)
class RegretTable:
    """The regrets of one task against one outcome.

    Attributes:
        title: task and outcome.
        headings: "chosen by", then what is chosen.
        lines: the test oracle, the baselines and the metrics, as text.
    """

    title: str
    headings: list[str]
    lines: list[list[str]]


def regret_tables(
    task: TaskOverTraining, *, conditional: bool = False, metrics: Collection[str] | None = None
) -> list[RegretTable]:
    """A table for each segmentation metric and each error of a task.

    Args:
        task: the scores over training.
        conditional: whether to include conditional translators.
        metrics: the names of the columns that choose; all by default.
    """
    by = None if metrics is None else {RANDOM, LAST, *metrics}
    found = [regret for regret in regrets(task, conditional=conditional) if by is None or regret.by in by]
    tables = []
    for column in task.columns:
        of = [regret for regret in found if regret.against == column.name]
        if of:
            tables.append(_table(f"{task.title}: regret in {column.name}", column.decimals, of))
    return tables


def _table(title: str, decimals: int | None, of: list[Regret]) -> RegretTable:
    choices = [choice for choice in CHOICES if any(regret.choice == choice for regret in of)]
    cells = {(regret.by, regret.choice): regret for regret in of}
    best = [cells[RANDOM, choice].best for choice in choices]
    lines = [["test oracle", *("–" if value is None else f"0 at {format_number(value, decimals)}" for value in best)]]
    for by in dict.fromkeys(regret.by for regret in of):
        name = by if by in (RANDOM, LAST) else f"{by} on validation"
        lines.append([name, *(_text(cells.get((by, choice)), decimals) for choice in choices)])
    return RegretTable(title, ["chosen by", *choices], lines)


def _text(regret: Regret | None, decimals: int | None) -> str:
    if regret is None or regret.value is None:
        return "–"
    text = format_number(regret.value, decimals)
    if regret.interval:
        text += " [{}, {}]".format(*(format_number(end, decimals) for end in regret.interval))
    return text + out_of(regret.pools, regret.of)


def out_of(count: int, total: int) -> str:
    """That a mean lacks some of what it should be made of; empty where it does not."""
    return "" if count == total else f" ({count} of {total})"
