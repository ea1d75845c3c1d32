"""Two results side by side: differences between comparable scores, ranks for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtbench.analysis.association import holm
from mtbench.analysis.cells import CellIndex
from mtbench.analysis.columns import anonymise, params, row_label
from mtbench.analysis.gather import current
from mtbench.analysis.matching import Side, match_blocks, match_columns, match_rows
from mtbench.analysis.nemenyi import CriticalDifference, critical_difference, shared_places
from mtbench.analysis.paired import FEWEST_PATIENTS, PairedDifference, paired_difference
from mtbench.analysis.ranking import Rule, ranked_rows
from mtbench.results.identity import BLOCK, DETAILS, OF_DATA, ROW

NOT_COMPARABLE = "not the same data, split or settings of the metric"


@dataclass(frozen=True)
class CellComparison:
    """One translator's score on one task and metric, in two results.

    Attributes:
        task, metric, translator: printed names; those of both sides if they differ.
        metric_name: the metric's name ("dice").
        a, b: the scores (means over seeds and folds); ``None`` if there is none.
        text_a, text_b: as printed.
        rank_a, rank_b: ranks among the translators that both results have.
        comparable: whether both were measured on the same data in the same way, so that ``b - a`` is meaningful.
        same: whether the translators also agree in parameters and version.
        differences: the columns of the scores table that differ, with the values of ``a`` and ``b``.
        paired: the difference on the same cases, if both results have per-case values.
        p_holm: its p, adjusted for all differences of the comparison.
        seed_std_a, seed_std_b: standard deviation over seeds, not part of the uncertainty by patient.
        one_checkpoint: one result has a single seed: the difference may reflect this training run, not the method.
        higher_is_better: the metric's direction.
    """

    task: str
    metric: str
    metric_name: str
    translator: str
    a: float | None
    b: float | None
    text_a: str
    text_b: str
    rank_a: int | None
    rank_b: int | None
    comparable: bool
    same: bool
    paired: PairedDifference | None
    p_holm: float | None
    seed_std_a: float | None
    seed_std_b: float | None
    one_checkpoint: bool
    higher_is_better: bool
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def difference(self) -> float | None:
        """``b - a`` if the scores are comparable: on the same cases if available, else of the two means."""
        if not self.comparable or self.a is None or self.b is None:
            return None
        return self.paired.value if self.paired else self.b - self.a


@dataclass(frozen=True)
class AverageRank:
    """A translator's mean rank in one metric over all tasks (and labels) on which all compared translators are ranked.

    Attributes:
        metric, translator: the metric's name and the translator's printed name.
        tasks: number of tasks.
        a, b: mean rank in each result.
    """

    metric: str
    translator: str
    tasks: int
    a: float
    b: float


@dataclass(frozen=True)
class ResultComparison:
    """All cells that two results share.

    Attributes:
        items: by task, metric, translator.
        average_ranks: for metrics that several tasks share, and translators ranked on all of them.
        critical: mean ranks with their critical difference, for each result and metric with enough tasks.
        remarks: sentences for the reader.
    """

    items: tuple[CellComparison, ...]
    average_ranks: tuple[AverageRank, ...]
    critical: tuple[CriticalDifference, ...]
    remarks: tuple[str, ...]


def compare(
    a: pa.Table,
    b: pa.Table,
    cases_a: pa.Table | None = None,
    cases_b: pa.Table | None = None,
    *,
    rule: Rule = "default",
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> ResultComparison:
    """Compare two results cell by cell.

    Tasks are matched by their dataset's name, translators by name and parameters (by name alone if a side has
    only one set of them), metrics by protocol, name, variant and label; a published number, whose variant is not
    stated, is matched with every variant. Differences are computed only if both sides were measured on the same data
    in the same way; each pair lists what differs.

    Args:
        a, b: scores tables.
        cases_a, cases_b: their cases tables, for paired tests.
        rule: how translators are ranked, as in tables.
        rows, columns, datasets: what to compare, by names in ``a``; all if empty.

    Raises:
        RequestError: a name matches nothing.
        DataError: a table is not of the scores schema, or mixes schema versions.
    """
    a, stale_a = current(a)
    b, stale_b = current(b)
    left, right = Side(a, cases_a, rows, columns, datasets), Side(b, cases_b)
    items: list[CellComparison] = []
    for block_a, block_b in match_blocks(left.averages, right.averages):
        data = _differences(left.averages.blocks[block_a], right.averages.blocks[block_b], BLOCK)
        pairs = list(match_rows(left, right, block_a, block_b))
        for c_a, c_b in match_columns(left, right, block_a, block_b):
            items += _cells(left, right, (block_a, block_b), (c_a, c_b), pairs, data, rule)
    critical = tuple(_critical("a", items) + _critical("b", items))
    stale = tuple(f"{name}: {anonymise(text)}." for name, text in (("a", stale_a), ("b", stale_b)) if text)
    return ResultComparison(tuple(_with_holm(items)), _average_ranks(items), critical, _remarks(items) + stale)


def _cells(
    a: Side,
    b: Side,
    blocks: tuple[int, int],
    columns: tuple[int, int],
    pairs: Sequence[tuple[int, int]],
    data: Mapping[str, tuple[Any, Any]],
    rule: Rule,
) -> list[CellComparison]:
    entry_a, entry_b = a.averages.columns[columns[0]], b.averages.columns[columns[1]]
    conditions = {**data, **_differences(entry_a, entry_b, ("variant", *DETAILS))}
    shared = [
        (r, s)
        for r, s in pairs
        if (blocks[0], r, columns[0]) in a.averages.numbers and (blocks[1], s, columns[1]) in b.averages.numbers
    ]
    rank_a = _ranks(a, blocks[0], columns[0], [r for r, _ in shared], rule)
    rank_b = _ranks(b, blocks[1], columns[1], [s for _, s in shared], rule)
    items = []
    for r, s in pairs:
        key_a, key_b = (blocks[0], r, columns[0]), (blocks[1], s, columns[1])
        number_a, number_b = a.averages.numbers.get(key_a), b.averages.numbers.get(key_b)
        one_checkpoint = any(
            number is not None and number.seeds == 1 and key in side.averages.cells_with_seeds
            for number, key, side in ((number_a, key_a, a), (number_b, key_b, b))
        )
        translators = _differences(a.averages.rows[r], b.averages.rows[s], ROW)
        of_data = {name: (a.averages.of_data[name].get(key_a), b.averages.of_data[name].get(key_b)) for name in OF_DATA}
        differing = {name: pair for name, pair in of_data.items() if all(pair) and pair[0] != pair[1]}
        translators |= {name: pair for name, pair in differing.items() if name in ROW}
        apart = {**conditions, **{name: pair for name, pair in differing.items() if name not in ROW}}
        items.append(
            CellComparison(
                _joint_name(a.layout.titles[blocks[0]], b.layout.titles[blocks[1]]),
                f"{_joint_name(a.layout.names[columns[0]], b.layout.names[columns[1]])} {entry_a['label']}".strip(),
                entry_a["metric"],
                _translator(a, r, b, s),
                number_a.value if number_a else None,
                number_b.value if number_b else None,
                a.text(*key_a),
                b.text(*key_b),
                rank_a.get(r),
                rank_b.get(s),
                not apart,
                not apart and not translators,
                _paired(a.cases(*key_a), b.cases(*key_b)) if not apart and number_a and number_b else None,
                None,
                number_a.std if number_a else None,
                number_b.std if number_b else None,
                one_checkpoint,
                bool(entry_a["higher_is_better"]),
                {**apart, **translators},
            )
        )
    return items


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], keys: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """The values of two table entries for the ``keys`` that differ; of parameters, only those that differ."""
    differences: dict[str, tuple[Any, Any]] = {key: (a[key], b[key]) for key in keys if a[key] != b[key]}
    for key in differences:
        if key.endswith(("_params", "_version")):
            one, other = params(a[key]), params(b[key])
            for name in [n for n, value in one.items() if n in other and other[n] == value]:
                del one[name], other[name]
            differences[key] = one, other
    return differences


def _translator(a: Side, r: int, b: Side, s: int) -> str:
    """The printed name; both names with their differences if the translators differ."""
    pair = [a.averages.rows[r], b.averages.rows[s]]
    if not _differences(pair[0], pair[1], ROW):
        return a.layout.labels[r]
    if not all(row["translator_params"] or row["translator_version"] for row in pair):
        return _joint_name(a.layout.labels[r], b.layout.labels[s])  # papers rarely state them
    return _joint_name(*(row_label(row, pair, {}) for row in pair))


def _ranks(side: Side, block: int, column: int, rows: Sequence[int], rule: Rule) -> dict[int, int]:
    texts: dict[CellIndex, str] = {(block, row, column): side.text(block, row, column) for row in rows}
    return ranked_rows(side.averages, block, column, rows, rule, texts)


def _paired(a: Mapping[str, tuple[str, float]], b: Mapping[str, tuple[str, float]]) -> PairedDifference | None:
    shared = [case for case in a if case in b]
    return paired_difference([b[case][1] - a[case][1] for case in shared], [a[case][0] for case in shared])


def _joint_name(a: str, b: str) -> str:
    return a if a == b else f"{a} / {b}"


def _with_holm(items: Sequence[CellComparison]) -> list[CellComparison]:
    """The items with Holm's p, adjusted over all items that have a p."""
    p = [math.nan if item.paired is None or item.paired.p is None else item.paired.p for item in items]
    return [
        item if math.isnan(p_holm) else replace(item, p_holm=p_holm)
        for item, p_holm in zip(items, holm(p), strict=True)
    ]


def _average_ranks(items: Sequence[CellComparison]) -> tuple[AverageRank, ...]:
    competitors = [item for item in items if item.rank_a and item.rank_b]
    averages = []
    for metric in dict.fromkeys(item.metric_name for item in competitors):
        of_metric = [item for item in competitors if item.metric_name == metric]
        columns = {(item.task, item.metric) for item in of_metric}
        tasks = len({task for task, _ in columns})
        for name in dict.fromkeys(item.translator for item in of_metric) if tasks > 1 else ():
            ranks = [(item.rank_a, item.rank_b) for item in of_metric if item.translator == name]
            if len(ranks) == len(columns):
                mean_a, mean_b = np.asarray(ranks, dtype=np.float64).mean(axis=0)
                averages.append(AverageRank(metric, name, tasks, float(mean_a), float(mean_b)))
    return tuple(averages)


def _critical(side: Literal["a", "b"], items: Sequence[CellComparison]) -> list[CriticalDifference]:
    """For the translators ranked on all tasks; labels of a task are not tasks, so their ranks are averaged."""
    differences = []
    competitors = [item for item in items if item.rank_a and item.rank_b]
    for metric in dict.fromkeys(item.metric_name for item in competitors):
        columns: dict[tuple[str, str], dict[str, float]] = {}
        for item in competitors:
            value = item.a if side == "a" else item.b
            if item.metric_name == metric and value is not None:
                columns.setdefault((item.task, item.metric), {})[item.translator] = value
        names = [n for n in dict.fromkeys(i.translator for i in competitors) if all(n in c for c in columns.values())]
        up = next(item.higher_is_better for item in competitors if item.metric_name == metric)
        by_task: dict[str, list[NDArray[np.float64]]] = {}
        for (task, _), values in columns.items():
            by_task.setdefault(task, []).append(shared_places(np.array([values[n] for n in names]), up))
        means = np.array([np.mean(places, axis=0) for places in by_task.values()])
        difference = critical_difference(side, metric, {n: means[:, i].tolist() for i, n in enumerate(names)})
        differences += [difference] if difference is not None else []
    return differences


def _remarks(items: Sequence[CellComparison]) -> tuple[str, ...]:
    texts = []
    if any(item.paired is not None and item.paired.p is not None for item in items):
        texts.append(
            "Difference: b minus a on the same cases, with a 95 % confidence interval by patient. p (Holm): the larger "
            "p of a paired sign-flip test and a studentised bootstrap, adjusted for all differences. Both assume that "
            "rare complete failures are represented among these patients. Variation over seeds is not included."
        )
    if any(item.paired is not None and item.paired.p is None for item in items):
        texts.append(f"No confidence interval with fewer than {FEWEST_PATIENTS} patients.")
    if any(item.one_checkpoint and item.difference is not None for item in items):
        texts.append("‡: one seed in a result; the difference may reflect this training run, not the method.")
    return tuple(texts)
