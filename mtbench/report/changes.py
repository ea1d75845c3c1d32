"""The ledger of changes: what each row's segmentation adds to the source's masks, and what it lacks.

Label maps are read from the store, one volume at a time; the images are not read here. See ``docs/ledger.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Slice, Task
from mtbench.errors import DataError, MtbenchError
from mtbench.hashing import hash_of
from mtbench.ledger import Grid, Item, Rules, among, find_items
from mtbench.report.evidence import Evidence, Slices, array
from mtbench.report.result import Result, Run
from mtbench.stages.table import CONFIDENCE, PAIRED_TEST, SOURCE_TEST, ScoreOptions, Subset
from mtbench.stages.unit import Unit, unit_of
from mtbench.store.artefacts import Artefact

Labels = NDArray[np.uint8]
NEEDED = {"data", "split", "predicted_masks"}
"""Roles of a score's inputs that the ledger needs."""
REFERENCES = ("truth", "oracle")
"""The reference rows that a translation is compared with."""
NO_MASKS = "No ledger: it needs masks of the source and a segmentation metric, and this task has none."
NO_LABELS = "No ledger: the store has no segmentations of this task. Name the store of the run with --store."


@dataclass(frozen=True)
class Change:
    """One change of one row on one volume.

    Attributes:
        id: stable for the same change on the same data; of task, row, slice, region and place.
        row: the row's printed name.
        role: "translator", "truth" or "oracle".
        patient, case: the volume.
        slice_id, index: the slice that shows most of it, and that slice's number.
        item: what changed.
        position: place in mm from the first voxel: slices, rows, columns; ``None`` if the grid has no mm.
        truth, oracle: the share of its voxels, 0 to 1, in which that row's segmentation also differs from the source's
            mask: the segmenter's own error. ``None`` without that row or such voxels.
        confidence: the segmenter's mean probability of its labels on these voxels, 0 to 1, if it states any.
    """

    id: str
    row: str
    role: str
    patient: str
    case: str
    slice_id: str
    index: int
    item: Item
    position: tuple[float, float, float] | None
    truth: float | None
    oracle: float | None
    confidence: float | None

    @property
    def excess(self) -> float:
        """The size of the change that the segmenter does not also make on the true target image."""
        return self.item.changed * (1 - (self.truth or 0.0))


@dataclass(frozen=True)
class Side:
    """One row of a task: where its segmentations and its images are.

    Attributes:
        row, role: as in :class:`Change`.
        parts: the inputs of its score, by role.
        unit: its score unit.
    """

    row: str
    role: str
    parts: Mapping[str, Artefact]
    unit: Unit

    @property
    def subset(self) -> Subset:
        """The slices whose segmentation it is."""
        assert isinstance(self.unit.options, ScoreOptions)
        return self.unit.options.candidate

    @cached_property
    def images(self) -> Slices:
        """The images that were segmented."""
        return Slices(self.parts["data"], self.parts["split"], self.subset, self.parts.get("candidate_images"))

    @cached_property
    def labels(self) -> Labels:
        """The segmentation, N x H x W; a memory map."""
        return array(self.parts["predicted_masks"], "masks.npy")

    @cached_property
    def confidence(self) -> Labels | None:
        """The segmenter's probability of each label, 255 for 1; ``None`` if the segmenter states none."""
        artefact = self.parts["predicted_masks"]
        return array(artefact, CONFIDENCE) if (artefact.path / CONFIDENCE).exists() else None

    @cached_property
    def places(self) -> dict[str, int]:
        """The position of each slice, by its id."""
        return {record.slice_id: i for i, record in enumerate(self.images.slices)}

    def of(self, slices: Sequence[Slice]) -> Labels | None:
        """The segmentation of these slices; ``None`` if one has none."""
        if any(record.slice_id not in self.places for record in slices):
            return None
        return np.asarray(self.labels[[self.places[record.slice_id] for record in slices]])

    def confidence_of(self, slices: Sequence[Slice], item: Item) -> float | None:
        """The mean confidence on an item's voxels of a volume with these slices."""
        if self.confidence is None or not len(item.where):
            return None
        pixels = self.labels[0].size
        at = [self.places[record.slice_id] for record in slices]
        # Slice by slice: an item is on few of them, and the file is mapped.
        parts = [
            (self.confidence[at[n]].ravel(), item.where[item.where // pixels == n] % pixels)
            for n in np.unique(item.where // pixels).tolist()
        ]
        return float(sum(values[where].sum(dtype=np.float64) for values, where in parts) / 255 / len(item.where))


@dataclass(frozen=True)
class TaskLedger:
    """The changes of one task.

    Attributes:
        title: of the task, as in the table.
        segmenter: its printed name.
        changes: of all rows, worst first: those with the largest :attr:`Change.excess`.
        sides: the rows, translators first, in the order of the table; of several folds one after another.
        volumes: how many volumes were compared, by row.
        unknown: regions and rows that are not compared, with the reason.
        problem: why there is no ledger; else empty.
    """

    title: str
    segmenter: str = ""
    changes: tuple[Change, ...] = ()
    sides: tuple[Side, ...] = ()
    volumes: Mapping[str, int] | None = None
    unknown: tuple[str, ...] = ()
    problem: str = ""


def find_changes(result: Result, evidence: Evidence, rules: Rules) -> list[TaskLedger]:
    """The ledger of every task that is shown.

    Of each row, the first seed; of several segmenters, that of the first segmentation metric.

    Args:
        result: the result.
        evidence: its artefacts.
        rules: the thresholds from which a difference is a change.
    """
    ledgers = []
    for block in result.blocks:
        title = result.layout.titles[block]
        try:
            ledgers.append(_task(result, evidence, block, rules))
        except (OSError, ValueError, KeyError, IndexError):
            ledgers.append(TaskLedger(title, problem="Cannot read the segmentations of this task in the store."))
        except MtbenchError as error:
            ledgers.append(TaskLedger(title, problem=str(error)))
    return ledgers


def _task(result: Result, evidence: Evidence, block: int, rules: Rules) -> TaskLedger:
    title = result.layout.titles[block]
    runs = [run for run in result.runs_of("translator", *REFERENCES) if run.block == block]
    runs = [run for run in runs if run.family == "segmentation"]
    # Stale labels would stand beside a truth and an oracle of another segmenter.
    stale = {run.row: None for run in runs if result.averages.rows[run.row]["currency"]}
    runs = [run for run in runs if run.row not in stale] or runs
    if not runs:
        return TaskLedger(title, problem=NO_MASKS)
    sides = _sides(result, evidence, runs)
    if not any(side.role == "translator" for fold in sides for side in fold):
        return TaskLedger(title, problem=NO_LABELS)
    changes: list[Change] = []
    volumes: dict[str, int] = {}
    unknown = {f"{result.layout.labels[row]}: its scores are out of date": None for row in stale}
    for fold in sides:
        regions, missing = _known(fold[0])
        unknown |= dict.fromkeys(missing)
        for change_list, names in _volumes(fold, regions, rules):
            changes += change_list
            for name in names:
                volumes[name] = volumes.get(name, 0) + 1
    return TaskLedger(
        title,
        segmenter=sides[0][0].parts["predicted_masks"].manifest["unit"]["plugin"],
        changes=tuple(sorted(changes, key=lambda change: -change.excess)),
        sides=tuple(side for fold in sides for side in fold),
        volumes=volumes,
        unknown=tuple(unknown),
    )


def _sides(result: Result, evidence: Evidence, runs: Sequence[Run]) -> list[list[Side]]:
    """The rows of each fold: the first seed and the first metric whose segmentations are in the store."""
    order = [column for _, column in result.layout.columns]
    folds: dict[int | None, dict[int, Side]] = {}
    segmenter = ""
    for run in sorted(runs, key=lambda run: (order.index(run.column), run.seed or 0)):
        of_fold = folds.setdefault(run.fold, {})
        if run.row in of_fold or (score := evidence.of_unit(run.unit)) is None:
            continue
        parts, unit = evidence.inputs(score), unit_of(score)
        if not set(parts) >= NEEDED or not isinstance(unit.options, ScoreOptions):
            continue
        # Segmentations of target slices, of the reverse protocol, show no source anatomy.
        named = parts["predicted_masks"].manifest["unit"]["plugin"]
        if unit.options.candidate not in (SOURCE_TEST, PAIRED_TEST) or named != (segmenter or named):
            continue
        segmenter = named
        role = result.averages.rows[run.row]["role"]
        of_fold[run.row] = Side(result.layout.labels[run.row], role, parts, unit)
    rows = result.layout.rows
    return [[of[row] for row in rows if row in of] for of in folds.values() if of]


def _known(side: Side) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The regions that both domains annotate, and why the others are not compared."""
    task: Task = side.unit.task
    data = side.parts["data"]
    shown = {domain: _values(data, domain) for domain in ("source", "target")}
    regions, unknown = {}, []
    for name, values in task.regions.items():
        absent = [getattr(task, domain) for domain, there in shown.items() if not there & set(values)]
        if absent:
            unknown.append(f"{name}: no mask of {' or '.join(absent)} shows it, so it is unknown there, not absent")
        else:
            regions[name] = values
    return regions, unknown


def _values(data: Artefact, domain: str) -> set[int]:
    path = data.path / f"masks-{domain}.npy"
    if not path.exists():
        return set()
    masks = np.load(path, mmap_mode="r", allow_pickle=False)
    there = np.zeros(256, bool)
    for mask in masks:
        there[mask] = True
    return set(np.flatnonzero(there).tolist()) - {0}


def _volumes(
    sides: Sequence[Side], regions: Mapping[str, tuple[int, ...]], rules: Rules
) -> Iterator[tuple[list[Change], list[str]]]:
    """The changes of each volume in all rows, and the rows that have it."""
    first = next(side for side in sides if side.role == "translator")
    source = Slices(first.parts["data"], first.parts["split"], first.subset)
    cases: dict[tuple[str, str], list[int]] = {}
    for i, record in enumerate(source.slices):
        cases.setdefault((record.patient_id, record.case_id), []).append(i)
    for at in cases.values():
        at.sort(key=lambda i: source.slices[i].index)
        slices = [source.slices[i] for i in at]
        masks = [source.mask(i) for i in at]
        reference = np.stack([mask for mask in masks if mask is not None])
        if len(reference) != len(slices):
            raise DataError("a source slice has no mask", where=f"case '{slices[0].case_id}'")
        volume = _Volume(slices, Grid.of(slices), reference, regions, rules)
        labels = {side.row: found for side in sides if (found := side.of(slices)) is not None}
        roles = {side.role: labels[side.row] for side in sides if side.role in REFERENCES and side.row in labels}
        yield [c for side in sides if side.row in labels for c in volume.changes(side, labels, roles)], list(labels)


@dataclass(frozen=True)
class _Volume:
    slices: Sequence[Slice]
    grid: Grid
    reference: Labels
    regions: Mapping[str, tuple[int, ...]]
    rules: Rules

    def changes(self, side: Side, labels: Mapping[str, Labels], roles: Mapping[str, Labels]) -> Iterator[Change]:
        for item in find_items(labels[side.row], self.reference, self.regions, self.grid, rules=self.rules):
            pixels = self.reference[0].size
            first, last = item.shown.box[0]
            middle = (first + last) // 2
            record = self.slices[int(np.bincount(item.where // pixels).argmax()) if len(item.where) else middle]
            place = item.shown.place
            steps = self.grid.steps() if self.grid.length_unit == "mm" else None
            shares = {role: self._share(item, others) if role != side.role else None for role, others in roles.items()}
            yield Change(
                id=hash_of(
                    [
                        side.unit.task.dataset,
                        side.row,
                        record.slice_id,
                        item.kind,
                        item.region,
                        [round(x, 1) for x in place],
                    ]
                )[:12],
                row=side.row,
                role=side.role,
                patient=record.patient_id,
                case=record.case_id,
                slice_id=record.slice_id,
                index=record.index,
                item=item,
                position=None if steps is None else tuple(x * s for x, s in zip(place, steps, strict=True)),  # type: ignore[arg-type]
                truth=shares.get("truth"),
                oracle=shares.get("oracle"),
                confidence=side.confidence_of(self.slices, item),
            )

    def _share(self, item: Item, labels: Labels) -> float | None:
        """The share of the item's voxels in which ``labels`` also differ from the reference."""
        if not len(item.where):
            return None
        inside = among(self.regions[item.region])
        seen, there = (inside[array.reshape(-1)[item.where]] for array in (labels, self.reference))
        return float((seen != there).mean())
