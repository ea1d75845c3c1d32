"""The paper's Figure 1: the same slice through every translator, beside its source and a target example."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Slice
from mtbench.errors import MtbenchError
from mtbench.report.choosing import Values, choose
from mtbench.report.evidence import Evidence, Slices, array
from mtbench.report.result import CaseValues, Result, Run
from mtbench.stages.table import TARGET_TEST, ScoreOptions, Subset
from mtbench.stages.unit import unit_of
from mtbench.store.artefacts import Artefact

Image = NDArray[np.uint8]

REQUIRED = {"data", "split", "candidate_images"}
"""Roles of a score's inputs that its example images need."""


@dataclass(frozen=True)
class View:
    """One translator's image of a slice.

    Attributes:
        label: the translator's printed name.
        conditional: whether its input is the mask.
        image: H x W uint8, or ``None`` if it is not in the store.
        mask: the segmenter's prediction, H x W label map; ``None`` without a segmenter.
        values: region to the slice's score in the metric that chose the slices.
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
        reasons: "worst", "median", "best", "worst of NAME", "chosen"; several if they name the same slice.
        slice_id, patient_id: which.
        value: mean score over translators and regions; ``None`` without a segmentation metric.
        sources, source_mask: the image that was translated, one for each of its channels, and its label map.
        truth: the same anatomy in the target domain, if the data set has it.
        target, target_mask: a real image of the target domain with the most similar label areas, if possible of another
            patient.
        same_patient: whether that is an image of the same patient id.
        views: one for each translator.
    """

    reasons: tuple[str, ...]
    slice_id: str
    patient_id: str
    value: float | None
    sources: tuple[Image, ...]
    source_mask: Image | None
    truth: Image | None
    target: Image | None
    target_mask: Image | None
    same_patient: bool
    views: tuple[View, ...]


@dataclass(frozen=True)
class TaskExamples:
    """The images of one task.

    Attributes:
        title: of the task, as in the table.
        source, target: printed names of the domains.
        channels: printed names of the source's channels; empty for one channel.
        labels: mask value to region name.
        measure: printed name of the metric that chose the slices; empty if there is none.
        decimals: digits after the point; ``None`` for three significant digits.
        run: the run that is shown ("seed 0", "fold 0"); empty without seeds and folds.
        examples: the slices.
        problem: why there are none; else empty.
    """

    title: str
    source: str = ""
    target: str = ""
    channels: tuple[str, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    measure: str = ""
    decimals: int | None = None
    run: str = ""
    examples: tuple[Example, ...] = ()
    problem: str = ""


def find_examples(result: Result, evidence: Evidence, slices: Sequence[str] = ()) -> list[TaskExamples]:
    """The images of every task that is shown.

    Args:
        result: the result.
        evidence: its artefacts.
        slices: which slices: "worst", "median", "best" by the mean over translators, or a slice's id; if
            empty, those three and each translator's worst.
    """
    tasks = []
    for block in result.blocks:
        try:
            tasks.append(_task(result, evidence, block, slices))
        except (MtbenchError, OSError, ValueError, KeyError, IndexError):
            # If the store was cleared by hand or written by another version, only the images are missing.
            tasks.append(TaskExamples(result.layout.titles[block], problem=UNREADABLE))
    return tasks


UNREADABLE = "Cannot read the images of this task in the store. Delete them there; `mtbench run` computes them again."

NO_IMAGES = "The store has no translated test images of this task. Name the store of the run with --store."


def _task(result: Result, evidence: Evidence, block: int, slices: Sequence[str]) -> TaskExamples:
    title = result.layout.titles[block]
    runs = [run for run in result.runs if run.block == block]
    if not runs:
        published = "published" in set(result.scores["status"].to_pylist())
        reason = "Published scores have no images." if published else "No translator has a score on this task."
        return TaskExamples(title, problem=reason)
    parts_of = {run.unit: _parts(evidence, run) for run in runs}
    measures = _first_measure(result, block, parts_of)
    run_of_row = _runs_by_row(result, runs, {case.run.unit for case in measures}, parts_of)
    parts = {row: parts_of[run.unit] for row, run in run_of_row.items()}
    complete = [row for row, artefacts in parts.items() if _is_complete(artefacts)]
    if not complete:
        return TaskExamples(title, problem=NO_IMAGES)
    unit = unit_of(parts[complete[0]]["score"])
    assert isinstance(unit.options, ScoreOptions)
    pictures = _Pictures(result, unit.options.candidate, parts[complete[0]]["data"], parts[complete[0]]["split"], parts)
    values = _values(measures, {run.unit for run in run_of_row.values()}, pictures.source)
    names, rows = result.layout.labels, result.averages.rows
    column = result.averages.columns[measures[0].run.column] if measures else None
    reasons_by_slice, means = choose(
        [s.slice_id for s in pictures.source.slices],
        {names[row]: of for row, of in values.items() if row in complete},
        [names[row] for row in complete if not rows[row]["conditional"]],
        bool(column and column["higher_is_better"]),
        slices,
    )
    return TaskExamples(
        title=title,
        source=unit.task.source,
        target=unit.task.target,
        channels=unit.task.channels,
        labels=unit.task.labels,
        measure=result.layout.names[measures[0].run.column] if values else "",
        decimals=column["decimals"] if column and values else None,
        run=_run_name(run_of_row.values()),
        examples=tuple(
            pictures.example(i, tuple(reasons), means.get(i), values) for i, reasons in reasons_by_slice.items()
        ),
    )


@dataclass(frozen=True)
class _Pictures:
    """The images of one task, read on demand.

    Attributes:
        result: the result.
        where: the slices that are translated.
        data, split: the artefacts of the task.
        parts: what went into the score of each row that is shown, by role.
    """

    result: Result
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

    def example(self, i: int, reasons: tuple[str, ...], mean: float | None, values: Mapping[int, Values]) -> Example:
        record, mask = self.source.slices[i], self.source.mask(i)
        similar = _most_similar(mask, self._target, record.patient_id)
        truth = self._truths.get(record.slice_id)
        return Example(
            reasons=reasons,
            slice_id=record.slice_id,
            patient_id=record.patient_id,
            value=mean,
            sources=self.source.channels(i),
            source_mask=mask,
            truth=None if truth is None else self._paired.image(truth),
            target=None if similar is None else self._target.image(similar),
            target_mask=None if similar is None else self._target.mask(similar),
            same_patient=similar is not None and self._target.slices[similar].patient_id == record.patient_id,
            views=tuple(self._view(row, i, values.get(row, {})) for row in self.parts),
        )

    def _view(self, row: int, i: int, values: Values) -> View:
        slice_id, parts = self.source.slices[i].slice_id, self.parts[row]
        masks = parts.get("predicted_masks")
        return View(
            self.result.layout.labels[row],
            bool(self.result.averages.rows[row]["conditional"]),
            Slices(self.data, self.split, self.where, parts["candidate_images"]).image(i)
            if _is_complete(parts)
            else None,
            None if masks is None else np.array(array(masks, "masks.npy")[i]),
            {
                self.result.averages.columns[column]["label"]: of[slice_id]
                for column, of in values.items()
                if np.isfinite(of.get(slice_id, np.nan))
            },
        )


def _first_measure(result: Result, block: int, parts_of: Mapping[str, Mapping[str, Artefact]]) -> list[CaseValues]:
    """The per-case values of the first segmentation column on translated images, and of its other regions."""
    measures = [
        case
        for case in result.cases
        if case.run.block == block and case.run.family == "segmentation" and _is_complete(parts_of[case.run.unit])
    ]
    if not measures:
        return []
    order = [c for b, c in result.layout.columns if b == block]
    first = result.layout.names[min((case.run.column for case in measures), key=order.index)]
    return [case for case in measures if result.layout.names[case.run.column] == first]


def _runs_by_row(
    result: Result, runs: Sequence[Run], with_cases: set[str], parts_of: Mapping[str, Mapping[str, Artefact]]
) -> dict[int, Run]:
    """For each row, in the table's order, the first seed of the first fold, preferably with images and values."""
    fold = min((run.fold for run in runs if run.fold is not None), default=None)
    run_of_row: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: run.unit not in with_cases):
        if run.fold == fold and (run.row not in run_of_row or not _is_complete(parts_of[run_of_row[run.row].unit])):
            run_of_row[run.row] = run
    return {row: run_of_row[row] for row in result.layout.rows if row in run_of_row}


def _is_complete(parts: Mapping[str, Artefact]) -> bool:
    return set(parts) >= REQUIRED


def _parts(evidence: Evidence, run: Run) -> dict[str, Artefact]:
    score = evidence.of_unit(run.unit)
    return {} if score is None else {**evidence.inputs(score), "score": score}


def _values(measures: Iterable[CaseValues], units: set[str], source: Slices) -> Mapping[int, Values]:
    """The values of each row; a value by volume or patient counts for all of its slices."""
    by_row: dict[int, dict[int, Mapping[str, float]]] = {}
    for case in measures:
        if case.run.unit not in units:
            continue
        values = dict(zip(case.cases, case.values.tolist(), strict=True))
        if case.by != "slice":
            names = {s.slice_id: _names(s, case.by) for s in source.slices}
            values = {at: values[name] for at, of in names.items() for name in of if name in values}
        by_row.setdefault(case.run.row, {})[case.run.column] = values
    return by_row


def _names(record: Slice, by: str) -> tuple[str, ...]:
    """What the case of a slice may be called; see :class:`mtbench.data.Cases`."""
    return (record.patient_id,) if by == "patient" else (record.case_id, f"{record.patient_id}/{record.case_id}")


def _most_similar(mask: Image | None, target: Slices, patient: str) -> int | None:
    """The target slice whose label areas are closest to the mask's; the middle slice without masks.

    Slices of other patients are preferred: the same patient would look like the truth of the slice.
    """
    if not len(target):
        return None
    others = [i for i, record in enumerate(target.slices) if record.patient_id != patient] or list(range(len(target)))
    if mask is None or target.mask(0) is None:
        return others[len(others) // 2]
    areas = np.bincount(mask.ravel(), minlength=256)
    gaps: dict[int, int] = {}
    # A hundred slices are enough to find a similar one.
    for i in others[:: max(1, len(others) // 100)]:
        other = target.mask(i)
        assert other is not None
        gaps[i] = int(np.abs(np.bincount(other.ravel(), minlength=256) - areas).sum())
    return min(gaps, key=lambda i: gaps[i])


def _run_name(runs: Collection[Run]) -> str:
    """Fold and seed of the runs, if any."""
    folds = sorted({run.fold for run in runs if run.fold is not None})
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    return ", ".join([f"fold {fold}" for fold in folds] + [f"seed {seed}" for seed in seeds])
