"""The paper's Figure 1: the same slice through every translator, beside its source and a target example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import MtbenchError
from mtbench.report.choosing import Values, choose
from mtbench.report.evidence import Evidence, Slices, array
from mtbench.report.reading import CaseRun, Reading, Run
from mtbench.stages.table import TARGET_TEST, ScoreOptions, Subset
from mtbench.stages.unit import unit_of
from mtbench.store.artefacts import Artefact

Image = NDArray[np.uint8]

WHOLE = {"data", "split", "candidate_images"}
"""Roles of a score's inputs without which there is no picture of it."""


@dataclass(frozen=True)
class View:
    """One translator's picture of a slice.

    Attributes:
        label: the translator's printed name.
        conditional: whether its input is the mask.
        image: H x W uint8, or ``None`` where it is not in the store.
        mask: what the segmenter saw in it, H x W label map, where that was asked.
        values: region to the slice's own value of the measure by which slices were chosen.
    """

    label: str
    conditional: bool
    image: Image | None = None
    mask: Image | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """One slice.

    Attributes:
        why: "worst", "median", "best", "worst of NAME", "chosen"; several where they are the same slice.
        slice_id, patient_id: which.
        value: the mean of the measure over translators and regions; ``None`` without a measure.
        source, source_mask: the image that was translated, and its label map.
        truth: the same anatomy in the target domain, where the data set has it.
        target, target_mask: an image of the target domain, another anatomy of the most similar label areas.
        views: one for each translator.
    """

    why: tuple[str, ...]
    slice_id: str
    patient_id: str
    value: float | None
    source: Image
    source_mask: Image | None
    truth: Image | None
    target: Image | None
    target_mask: Image | None
    views: tuple[View, ...]


@dataclass(frozen=True)
class TaskExamples:
    """The pictures of one task.

    Attributes:
        title: of the task, as in the table.
        source, target: printed names of the domains.
        labels: mask value to region name.
        measure: printed name of the measure by which slices were chosen; empty where they were not.
        decimals: digits of its values; ``None``: three significant ones.
        run: which run is shown ("seed 0", "fold 0"); empty where there is one.
        examples: the slices.
        absent: why there are none; empty where there are some.
    """

    title: str
    source: str = ""
    target: str = ""
    labels: Mapping[int, str] = field(default_factory=dict)
    measure: str = ""
    decimals: int | None = None
    run: str = ""
    examples: tuple[Example, ...] = ()
    absent: str = ""


def find_examples(reading: Reading, evidence: Evidence, wanted: Sequence[str] = ()) -> list[TaskExamples]:
    """The pictures of every task that is shown.

    Args:
        reading: the result.
        evidence: its artefacts.
        wanted: which slices: "worst", "median", "best" by the mean over translators, or a slice's id; where
            empty, those three and each translator's own worst.
    """
    found = []
    for block in reading.blocks:
        try:
            found.append(_task(reading, evidence, block, wanted))
        except (MtbenchError, OSError, ValueError, KeyError, IndexError):
            # A store that somebody cleared by hand, or that another version wrote, costs the pictures only.
            found.append(TaskExamples(reading.layout.titles[block], absent=DAMAGED))
    return found


DAMAGED = "The images of this task cannot be read in the store; `mtbench run` makes anew what you delete there."

GONE = "No translated test image of this task is in the store: it was emptied, or it is another one (see --store)."


def _task(reading: Reading, evidence: Evidence, block: int, wanted: Sequence[str]) -> TaskExamples:
    title = reading.layout.titles[block]
    runs = [run for run in reading.runs if run.block == block]
    if not runs:
        published = "published" in set(reading.scores["status"].to_pylist())
        reason = "Published numbers come without images." if published else "No translator of this task has a score."
        return TaskExamples(title, absent=reason)
    parts_of = {run.unit: _parts(evidence, run) for run in runs}
    measured = _first_measure(reading, block, parts_of)
    shown = _one_run_each(reading, runs, {case.run.unit for case in measured}, parts_of)
    parts = {row: parts_of[run.unit] for row, run in shown.items()}
    whole = [row for row, found in parts.items() if _whole(found)]
    if not whole:
        return TaskExamples(title, absent=GONE)
    unit = unit_of(parts[whole[0]]["score"])
    assert isinstance(unit.options, ScoreOptions)
    pictures = _Pictures(reading, unit.options.candidate, parts[whole[0]]["data"], parts[whole[0]]["split"], parts)
    values = _values(measured, {run.unit for run in shown.values()}, pictures.source)
    names, rows = reading.layout.labels, reading.found.rows
    column = reading.found.columns[measured[0].run.column] if measured else None
    chosen, means = choose(
        [s.slice_id for s in pictures.source.slices],
        {names[row]: of for row, of in values.items() if row in whole},
        [names[row] for row in whole if not rows[row]["conditional"]],
        bool(column and column["higher_is_better"]),
        wanted,
    )
    return TaskExamples(
        title=title,
        source=unit.task.source,
        target=unit.task.target,
        labels=unit.task.labels,
        measure=reading.layout.names[measured[0].run.column] if values else "",
        decimals=column["decimals"] if column and values else None,
        run=_which(shown.values()),
        examples=tuple(pictures.example(i, tuple(why), means.get(i), values) for i, why in chosen.items()),
    )


@dataclass(frozen=True)
class _Pictures:
    """The pixels of one task.

    Attributes:
        reading: the result.
        where: the slices that are translated.
        data, split: the artefacts of the task.
        parts: what went into the score of each row that is shown, by role.
    """

    reading: Reading
    where: Subset
    data: Artefact
    split: Artefact
    parts: Mapping[int, Mapping[str, Artefact]]

    @cached_property
    def source(self) -> Slices:
        return Slices(self.data, self.split, self.where)

    @cached_property
    def _target(self) -> Slices:
        return Slices(self.data, self.split, TARGET_TEST)

    @cached_property
    def _paired(self) -> Slices:
        return Slices(self.data, self.split, Subset("paired", self.where.split))

    @cached_property
    def _truths(self) -> dict[str, int]:
        return {record.slice_id: i for i, record in enumerate(self._paired.slices)}

    def example(self, i: int, why: tuple[str, ...], mean: float | None, values: Mapping[int, Values]) -> Example:
        record, mask = self.source.slices[i], self.source.mask(i)
        like = _most_similar(mask, self._target)
        truth = self._truths.get(record.slice_id)
        return Example(
            why=why,
            slice_id=record.slice_id,
            patient_id=record.patient_id,
            value=mean,
            source=self.source.image(i),
            source_mask=mask,
            truth=None if truth is None else self._paired.image(truth),
            target=None if like is None else self._target.image(like),
            target_mask=None if like is None else self._target.mask(like),
            views=tuple(self._view(row, i, values.get(row, {})) for row in self.parts),
        )

    def _view(self, row: int, i: int, values: Values) -> View:
        slice_id, parts = self.source.slices[i].slice_id, self.parts[row]
        seen = parts.get("predicted_masks")
        return View(
            self.reading.layout.labels[row],
            bool(self.reading.found.rows[row]["conditional"]),
            Slices(self.data, self.split, self.where, parts["candidate_images"]).image(i) if _whole(parts) else None,
            None if seen is None else np.array(array(seen, "masks.npy")[i]),
            {
                self.reading.found.columns[column]["label"]: of[slice_id]
                for column, of in values.items()
                if np.isfinite(of.get(slice_id, np.nan))
            },
        )


def _first_measure(reading: Reading, block: int, parts_of: Mapping[str, Mapping[str, Artefact]]) -> list[CaseRun]:
    """The case values of the first segmentation column of translated images that has some, and of its other regions."""
    found = [
        case
        for case in reading.cases
        if case.run.block == block and case.run.family == "segmentation" and _whole(parts_of[case.run.unit])
    ]
    if not found:
        return []
    order = [c for b, c in reading.layout.columns if b == block]
    first = reading.layout.names[min((case.run.column for case in found), key=order.index)]
    return [case for case in found if reading.layout.names[case.run.column] == first]


def _one_run_each(
    reading: Reading, runs: Sequence[Run], with_cases: set[str], parts_of: Mapping[str, Mapping[str, Artefact]]
) -> dict[int, Run]:
    """For each row, in the table's order, its first seed on the first fold: if possible one with images and values."""
    fold = min((run.fold for run in runs if run.fold is not None), default=None)
    shown: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.unit not in with_cases):
        if run.fold == fold and (run.row not in shown or not _whole(parts_of[shown[run.row].unit])):
            shown[run.row] = run
    return {row: shown[row] for row in reading.layout.rows if row in shown}


def _whole(parts: Mapping[str, Artefact]) -> bool:
    return set(parts) >= WHOLE


def _parts(evidence: Evidence, run: Run) -> dict[str, Artefact]:
    score = evidence.of_unit(run.unit)
    return {} if score is None else {**evidence.inputs(score), "score": score}


def _values(measured: Iterable[CaseRun], units: set[str], source: Slices) -> Mapping[int, Values]:
    """For each row its values; a value by patient stands for all slices of that patient."""
    found: dict[int, dict[int, Mapping[str, float]]] = {}
    for case in measured:
        if case.run.unit not in units:
            continue
        values = dict(zip(case.cases, case.values.tolist(), strict=True))
        if case.by == "patient":
            values = {s.slice_id: values[s.patient_id] for s in source.slices if s.patient_id in values}
        found.setdefault(case.run.row, {})[case.run.column] = values
    return found


def _most_similar(mask: Image | None, target: Slices) -> int | None:
    """The target slice whose label areas are most like the mask's; the middle one without masks."""
    if not len(target):
        return None
    if mask is None or target.mask(0) is None:
        return len(target) // 2
    areas = np.bincount(mask.ravel(), minlength=256)
    gaps: dict[int, int] = {}
    # A hundred slices are enough to find a similar one.
    for i in range(0, len(target), max(1, len(target) // 100)):
        other = target.mask(i)
        assert other is not None
        gaps[i] = int(np.abs(np.bincount(other.ravel(), minlength=256) - areas).sum())
    return min(gaps, key=lambda i: gaps[i])


def _which(runs: Iterable[Run]) -> str:
    """Fold and seed of the runs, where they have some."""
    kept = list(runs)
    folds = sorted({run.fold for run in kept if run.fold is not None})
    seeds = sorted({run.seed for run in kept if run.seed is not None})
    return ", ".join([f"fold {fold}" for fold in folds] + [f"seed {seed}" for seed in seeds])
