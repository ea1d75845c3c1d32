"""Scores over training: every metric of every checkpoint, on test and on validation patients, run by run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtbench.analysis.columns import anonymise, block_titles, column_names, number_duplicates, row_label
from mtbench.analysis.gather import are_final, current
from mtbench.analysis.select import select
from mtbench.errors import DataError, RequestError
from mtbench.results.identity import BLOCK, COLUMN, OF_DATA, ROW

Side = Literal["test", "validation"]

_TASK = tuple(name for name in BLOCK if name != "data_sha256")
_MODEL = tuple(name for name in ROW if name not in ("checkpoint", "scored_on"))
_METRIC = tuple(name for name in COLUMN if name not in (*OF_DATA, "label"))
"""A column without its label."""


@dataclass(frozen=True)
class Column:
    """A metric over training.

    Attributes:
        name: as tables print it.
        metric, family: of its spec.
        higher_is_better, decimals, measure_unit: of its values.
    """

    name: str
    metric: str
    family: str
    higher_is_better: bool
    decimals: int | None
    measure_unit: str

    @property
    def is_outcome(self) -> bool:
        """Whether it says how good translations are: by a segmenter, or against the truth."""
        return self.family in ("segmentation", "paired")


@dataclass(frozen=True)
class TrainingRun:
    """One training of a translator, or one translator that does not train.

    Attributes:
        model: its printed name.
        seed, fold: ``None`` without.
        conditional: whether the translator reads the reference mask.
    """

    model: str
    seed: int | None
    fold: int | None
    conditional: bool = False


@dataclass
class TaskOverTraining:
    """The scores of one task.

    Attributes:
        title: as tables print it.
        columns: the metrics.
        values: by run, part of the training (8: after 1/8; 1: the final checkpoint), side and number of the column;
            means over regions (labels of segmentation and paired metrics; other labels are columns of their own), and
            over repeated scores of one request.
        steps: by run and part; absent where the fit recorded none.
        candidates: every run and part that was to be scored, failed ones included.
    """

    title: str
    columns: list[Column]
    values: dict[tuple[TrainingRun, int, Side, int], float] = field(default_factory=dict)
    steps: dict[tuple[TrainingRun, int], int] = field(default_factory=dict)
    candidates: set[tuple[TrainingRun, int]] = field(default_factory=set)

    @property
    def runs(self) -> list[TrainingRun]:
        """All runs, in the order of the results."""
        return list(dict.fromkeys(run for run, *_ in self.values))

    def parts(self, run: TrainingRun) -> list[int]:
        """The checkpoints of a run, first to last."""
        return sorted({part for other, part in self.candidates if other == run}, reverse=True)


@dataclass(frozen=True)
class OverTraining:
    """The scores of a result over training.

    Attributes:
        tasks: those with checkpoints or scores on validation patients.
        remarks: sentences for the reader.
    """

    tasks: tuple[TaskOverTraining, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """The scores of one checkpoint of a model: means over its seeds and folds.

    Attributes:
        model: its printed name.
        part: the checkpoint was kept after 1/``part`` of the training; 1: the final one.
        step: updates it has trained for; ``None`` where that is not known or not the same in all runs.
        runs: how many trainings there are (seeds and folds).
        values: of each column the mean and how many runs entered; ``None`` where no run has a score.
    """

    model: str
    part: int
    step: int | None
    runs: int
    values: tuple[tuple[float, int] | None, ...]


def lines(task: TaskOverTraining, side: Side) -> list[Line]:
    """The checkpoints of every model of a task, first to last."""
    result = []
    models: dict[str, list[TrainingRun]] = {}
    for run in task.runs:
        models.setdefault(run.model, []).append(run)
    for model, runs in models.items():
        for part in sorted({part for run in runs for part in task.parts(run)}, reverse=True):
            steps = {task.steps.get((run, part)) for run in runs}
            cells = []
            for number in range(len(task.columns)):
                places = [(run, part, side, number) for run in runs]
                values = [task.values[place] for place in places if place in task.values]
                cells.append((float(np.mean(values)), len(values)) if values else None)
            step = steps.pop() if len(steps) == 1 else None
            result.append(Line(model, part, step, len(runs), tuple(cells)))
    return result


def without_final(scores: pa.Table) -> pa.Table:
    """The rows of earlier checkpoints, and those on validation patients."""
    return scores.filter(pc.invert(are_final(scores)))


def over_training(scores: pa.Table, *, rows: Sequence[str] = (), datasets: Sequence[str] = ()) -> OverTraining:
    """The scores over training of every task whose suite keeps checkpoints.

    Args:
        scores: rows of ``mtbench.results.schema.SCORES``.
        rows, datasets: translators and tasks to read; all if empty.

    Raises:
        RequestError: there are no such scores, or a name matches nothing.
        DataError: scores on different validation or test patients under one name.
    """
    table, stale = current(scores)
    records = [_cleaned(record) for record in table.to_pylist() if _counts(record)]
    kept = {_key(record, _TASK) for record in records if record["checkpoint"] or record["scored_on"]}
    records = [record for record in records if _key(record, _TASK) in kept]
    if not records:
        raise RequestError(
            "there are no scores of checkpoints",
            expected="the results of a suite with `keep = 4` (or another number) beside a translator that trains",
        )
    records = _chosen(records, "dataset", datasets, "dataset")
    records = _chosen(records, "translator", rows, "translator")
    by_task: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        by_task.setdefault(_key(record, _TASK), []).append(record)
    titles = block_titles([of[0] for of in by_task.values()], {})
    tasks = [_task(title, of) for title, of in zip(titles, by_task.values(), strict=True)]
    return OverTraining(tuple(tasks), (f"{anonymise(stale)}.",) if stale else ())


def _counts(record: Mapping[str, Any]) -> bool:
    """Whether a row enters: of a translator, under the protocol that keeps checkpoints."""
    of = record["role"], record["protocol"]
    return of == ("translator", "segment-translated") and record["status"] in ("measured", "failed")


def _has_number(record: Mapping[str, Any]) -> bool:
    return record["status"] == "measured" and record["value"] is not None and math.isfinite(record["value"])


def _cleaned(record: Mapping[str, Any]) -> dict[str, Any]:
    texts = (*BLOCK, *ROW, *COLUMN, "source_domain", "target_domain")
    return {**record, **{name: record[name] or "" for name in texts if not isinstance(record[name], int | float)}}


def _key(record: Mapping[str, Any], names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(record[name] for name in names)


def _chosen(records: list[dict[str, Any]], name: str, patterns: Sequence[str], what: str) -> list[dict[str, Any]]:
    values = list(dict.fromkeys(record[name] for record in records))
    chosen = {values[i] for i in select(patterns, range(len(values)), [{value} for value in values], what)}
    return [record for record in records if record[name] in chosen]


def _task(title: str, everything: Sequence[dict[str, Any]]) -> TaskOverTraining:
    records = [record for record in everything if _has_number(record)]
    _check_one_data_set(title, records)
    columns, names = _columns(records), _model_names(records)
    numbers = {key: number for number, key in enumerate(columns)}
    task = TaskOverTraining(title, list(columns.values()), candidates=_candidates(everything, records, names))
    cells: dict[tuple[TrainingRun, int, Side, int], dict[str, list[float]]] = {}
    regions: dict[int, set[str]] = {}
    for record in records:
        run, part, number = _run(record, names[_key(record, _MODEL)]), _part(record), numbers[_column(record)]
        side: Side = "validation" if record["scored_on"] else "test"
        cells.setdefault((run, part, side, number), {}).setdefault(record["label"], []).append(record["value"])
        regions.setdefault(number, set()).add(record["label"])
        if record["step"] is not None:
            task.steps[run, part] = record["step"]
    # A mean over fewer regions is another number: it is missing.
    task.values = {
        place: float(np.mean([np.mean(values) for values in by_region.values()]))
        for place, by_region in cells.items()
        if by_region.keys() == regions[place[3]]
    }
    return task


def _check_one_data_set(title: str, records: Sequence[Mapping[str, Any]]) -> None:
    for side in ("", "validation"):
        contents = {record["data_sha256"] for record in records if record["scored_on"] == side} - {""}
        if len(contents) > 1:
            raise DataError(
                f"scores on {len(contents)} different sets of {side or 'test'} images share the name of one task",
                where=title,
                expected="one data set and one split",
                remedy="Give `mtbench checkpoints` the results directory of one run",
            )


def _column(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What sets a column apart: labels are regions, which are averaged, unless the metric is perceptual."""
    return (*_key(record, _METRIC), record["label"] if record["family"] == "perceptual" else "")


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], Column]:
    first = {_column(record): record for record in reversed(records)}
    keys = list(dict.fromkeys(_column(record) for record in records))
    heads = [{**dict.fromkeys(COLUMN, ""), **dict(zip(_METRIC, key[:-1], strict=True))} for key in keys]
    labelled = [f"{name} {key[-1]}".strip() for key, name in zip(keys, column_names(heads, {}), strict=True)]
    columns = {}
    for key, name in zip(keys, number_duplicates(labelled), strict=True):
        own = (first[key][of] for of in ("metric", "family", "higher_is_better", "decimals", "measure_unit"))
        columns[key] = Column(name, *own)
    return columns


def _run(record: Mapping[str, Any], model: str) -> TrainingRun:
    return TrainingRun(model, record["seed"], record["fold"], bool(record["conditional"]))


def _part(record: Mapping[str, Any]) -> int:
    return int(record["checkpoint"].removeprefix("1/") or 1)


def _candidates(
    everything: Iterable[Mapping[str, Any]],
    measured: Iterable[Mapping[str, Any]],
    names: Mapping[tuple[Any, ...], str],
) -> set[tuple[TrainingRun, int]]:
    """All runs and parts; a row that failed may not know the version of its translator, and joins those that fit."""
    same_request = ("translator", "translator_params", "seed", "fold")
    runs: dict[tuple[Any, ...], set[TrainingRun]] = {}
    for record in measured:
        runs.setdefault(_key(record, same_request), set()).add(_run(record, names[_key(record, _MODEL)]))
    return {(run, _part(record)) for record in everything for run in runs.get(_key(record, same_request), ())}


def _model_names(records: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """The printed name of each model, with what sets it apart from others of its name."""
    keys = list(dict.fromkeys(_key(record, _MODEL) for record in records))
    entries = [dict(zip(_MODEL, key, strict=True)) for key in keys]
    apart = [name for name in _MODEL if name != "training_sha256"]
    for entry in entries:
        alike = {e["training_sha256"] for e in entries if _key(e, apart) == _key(entry, apart)}
        entry["trained on one"] = len(alike) == 1
    shown = [{**e, "training_sha256": "" if e["trained on one"] else e["training_sha256"]} for e in entries]
    return dict(zip(keys, number_duplicates([row_label(entry, shown, {}) for entry in shown]), strict=True))
