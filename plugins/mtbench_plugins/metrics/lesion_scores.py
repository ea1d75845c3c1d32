"""Scores of single lesions or structures: which were found, and how exactly.

The connected components of a region's predicted and reference mask are matched one to one
(:func:`mtbench.ledger.match`): pairs have an IoU above 0 and of at least ``overlap``, and the matching with the largest
sum of IoU counts. With TP pairs, FP unmatched predicted and FN unmatched reference components of a volume:

- recall TP / (TP + FN); precision TP / (TP + FP); f1 2 TP / (2 TP + FP + FN);
- dice: the sum of the pairs' Dice coefficients / (TP + FP + FN), so that a lesion that was missed or invented counts 0;
- volume error: the mean over pairs of |predicted volume - reference volume| / reference volume;
- location error: the mean over pairs of the distance between centroids.

A size class counts reference lesions of that size, the pairs they are in, and unmatched predicted lesions of that size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.ledger import Components, Grid, match
from mtbench_plugins.metrics.regions import Per, mean_score
from mtbench_plugins.metrics.structures import Volumes

Size = Literal["all", "small", "medium", "large"]


@dataclass(frozen=True)
class Lesion:
    """One pair of components, or one unmatched component (the other side's voxels are 0).

    Attributes:
        predicted, reference: voxels.
        common: voxels of both.
        diameter: of the reference component, of the predicted one if there is no reference, in mm or pixels.
        distance: between the centroids, in mm or pixels.
    """

    predicted: int
    reference: int
    common: int
    diameter: float
    distance: float

    @property
    def dice(self) -> float:
        """The Dice coefficient; 0 without a partner."""
        return 2 * self.common / (self.predicted + self.reference)


@dataclass(frozen=True)
class Matched:
    """The common part of both metrics.

    Args:
        per: what a case is; a patient is the mean of its volumes.
        overlap: the smallest IoU of a pair.
        size: which lesions count, by the diameter of the ball (on a slice: the disc) of their size: "small" below
            ``medium_from``, "large" from ``large_from`` on.
        medium_from, large_from: mm.
    """

    per: Per = "patient"
    overlap: float = 0.1
    size: Size = "all"
    medium_from: float = 7.5
    large_from: float = 15.0

    def lesions(self, volumes: Volumes) -> dict[str, list[list[Lesion]]]:
        """The lesions that count, of each volume, by region.

        Raises:
            DataError: a size class is requested and its limits overlap, or a volume has no size in mm.
        """
        self._check(volumes)
        lesions: dict[str, list[list[Lesion]]] = {name: [] for name in volumes.inputs.task.regions}
        for grid, region, predicted, reference in volumes.components():
            matched = self._match(grid, predicted, reference, volumes)
            lesions[region].append([lesion for lesion in matched if self._counts(lesion)])
        return lesions

    def _match(self, grid: Grid, predicted: Components, reference: Components, volumes: Volumes) -> list[Lesion]:
        matching, unit = match(predicted, reference, self.overlap), volumes.length_unit
        lesions = [
            Lesion(
                int(predicted.voxels[i]),
                int(reference.voxels[j]),
                int(matching.common[i, j]),
                grid.diameter(int(reference.voxels[j]), unit),
                grid.distance(predicted.centroids[i], reference.centroids[j], unit),
            )
            for i, j in matching.pairs
        ]
        invented, missed = matching.alone
        alone = [(int(predicted.voxels[i]), 0) for i in invented] + [(0, int(reference.voxels[j])) for j in missed]
        return lesions + [Lesion(a, b, 0, grid.diameter(a + b, unit), math.nan) for a, b in alone]

    def _counts(self, lesion: Lesion) -> bool:
        if self.size == "all":
            return True
        small, large = lesion.diameter < self.medium_from, lesion.diameter >= self.large_from
        return {"small": small, "large": large, "medium": not small and not large}[self.size]

    def _check(self, volumes: Volumes) -> None:
        if self.size == "all":
            return
        if self.medium_from >= self.large_from:
            raise DataError(
                f"medium lesions begin at {self.medium_from:g} mm and large ones at {self.large_from:g} mm",
                where=volumes.metric,
                expected="medium_from below large_from",
            )
        if volumes.length_unit != "mm":
            raise DataError(
                "the spacing or thickness of a volume is not known, so its lesions have no diameter in mm",
                where=volumes.metric,
                expected="spacing and thickness of every slice",
                remedy="Use size=all, or state them in the data set",
            )

    def note(self, lesions: Sequence[Sequence[Lesion]], skipped: str) -> str:
        """Counts over all volumes, and the volumes without a value."""
        every = [lesion for volume in lesions for lesion in volume]
        there = sum(lesion.reference > 0 for lesion in every)
        pairs = sum(lesion.common > 0 for lesion in every)
        invented = sum(lesion.reference == 0 for lesion in every)
        parts = [f"{pairs} of {there} matched (IoU >= {self.overlap:g}), {invented} without reference"]
        return "; ".join(filter(None, (*parts, skipped)))


@dataclass(frozen=True)
class LesionScore(Matched):
    """The metric ``lesions``.

    A volume without a reference lesion has no recall, and one without a predicted lesion no precision; they are skipped
    and counted. ``f1`` and ``dice`` of a volume without any are 1 under ``empty="1"`` and skipped under
    ``empty="skip"``.

    Args:
        score: see the module.
        empty: see above.
    """

    score: Literal["f1", "recall", "precision", "dice"] = field(default="f1", kw_only=True)
    empty: Literal["1", "skip"] = field(default="1", kw_only=True)

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task.

        Raises:
            DataError: masks do not fit, a volume has two spacings, a size class has no mm, or no case has a value.
        """
        volumes = Volumes.of(inputs, "lesions", self.per)
        why = {"recall": "no reference lesion", "precision": "no predicted lesion"}.get(self.score, "no lesion")
        scores = []
        for region, lesions in self.lesions(volumes).items():
            values = [self.of_volume(each) for each in lesions]
            note = self.note(lesions, volumes.skipped(values, why))
            scores.append(mean_score("lesions", region, volumes.groups, values, note=note))
        return scores

    def of_volume(self, lesions: Sequence[Lesion]) -> float:
        """The value of one volume; NaN without one."""
        pairs = sum(lesion.common > 0 for lesion in lesions)
        if self.score == "recall":
            there = sum(lesion.reference > 0 for lesion in lesions)
            return pairs / there if there else math.nan
        if self.score == "precision":
            found = sum(lesion.predicted > 0 for lesion in lesions)
            return pairs / found if found else math.nan
        if not lesions:
            return 1.0 if self.empty == "1" else math.nan
        if self.score == "f1":
            return 2 * pairs / (pairs + len(lesions))
        return sum(lesion.dice for lesion in lesions) / len(lesions)


@dataclass(frozen=True)
class LesionError(Matched):
    """The metric ``lesion-error``: how far matched lesions are off. Volumes without a pair are skipped and counted.

    Args:
        error: "volume" (relative) or "location" (mm; pixels, said in the note, if a spacing or thickness is unknown).
    """

    error: Literal["volume", "location"] = field(default="volume", kw_only=True)

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task.

        Raises:
            DataError: as for :class:`LesionScore`.
        """
        volumes = Volumes.of(inputs, "lesion-error", self.per)
        unit = "relative to the reference volume" if self.error == "volume" else f"in {volumes.length_unit}"
        scores = []
        for region, lesions in self.lesions(volumes).items():
            values = [self.of_volume(each) for each in lesions]
            note = self.note(lesions, volumes.skipped(values, "no matched lesion"))
            scores.append(mean_score("lesion-error", region, volumes.groups, values, note=f"{unit}; {note}"))
        return scores

    def of_volume(self, lesions: Sequence[Lesion]) -> float:
        """The value of one volume; NaN without a pair."""
        pairs = [lesion for lesion in lesions if lesion.common > 0]
        if not pairs:
            return math.nan
        if self.error == "location":
            return float(np.mean([lesion.distance for lesion in pairs]))
        return float(np.mean([abs(lesion.predicted / lesion.reference - 1) for lesion in pairs]))
