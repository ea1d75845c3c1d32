"""What `lesions`, `lesion-error` and `changes` share: the volumes of a set of slices, their grids and units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtbench import DataError, MetricInputs
from mtbench.ledger import Components, Grid, LengthUnit, SizeUnit, find_components
from mtbench_plugins.metrics.regions import Per, SliceGroups, groups, masks_by_region


@dataclass(frozen=True)
class Volumes:
    """The volumes, or slices, whose label maps are compared.

    Attributes:
        inputs: the metric's inputs.
        metric: its name, for messages.
        groups: the slices of each volume.
        grids: of each volume.
    """

    inputs: MetricInputs
    metric: str
    groups: SliceGroups
    grids: tuple[Grid, ...]

    @classmethod
    def of(cls, inputs: MetricInputs, metric: str, per: Per) -> Volumes:
        """The volumes of the candidates; ``per`` as for other metrics on masks.

        Raises:
            DataError: masks and slices differ in number or size, the task has no regions, or slices of one volume
                differ in spacing.
        """
        predicted, reference, candidate = inputs.predicted_masks, inputs.reference_masks, inputs.candidate
        assert predicted is not None
        assert reference is not None
        assert candidate is not None
        if predicted.shape != reference.shape or len(predicted) != len(candidate):
            raise DataError(
                f"predicted masks are {predicted.shape}, reference masks {reference.shape}, and there are "
                f"{len(candidate)} slices",
                where=metric,
                expected="one mask of each kind and of the same size for every slice",
            )
        if not inputs.task.regions:
            raise DataError(
                f"the task '{inputs.task.dataset}' has no labels",
                where=metric,
                expected="labels or regions declared by its dataset",
            )
        cases = groups(candidate, per)
        slices = candidate.slices
        grids = tuple(
            Grid.of([slices[i] for i in members], f"{metric}, case '{name}'")
            for members, name in zip(cases.members, cases.ids, strict=True)
        )
        return cls(inputs, metric, cases, grids)

    @property
    def size_unit(self) -> SizeUnit:
        """The unit that all volumes have: mL, else mm2, else pixels."""
        units = {grid.size_unit for grid in self.grids}
        return "pixels" if "pixels" in units else "mm2" if "mm2" in units else "mL"

    @property
    def length_unit(self) -> LengthUnit:
        """The unit that all volumes have: mm, else pixels."""
        return "mm" if all(grid.length_unit == "mm" for grid in self.grids) else "pixels"

    def masks(self) -> Iterator[tuple[Grid, str, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Grid, region, predicted and reference mask of each region of each volume; one volume in memory at a time."""
        assert self.inputs.predicted_masks is not None
        assert self.inputs.reference_masks is not None
        for grid, members in zip(self.grids, self.groups.members, strict=True):
            sides = [
                masks_by_region(self.inputs.task, np.asarray(labels[members]), self.metric)
                for labels in (self.inputs.predicted_masks, self.inputs.reference_masks)
            ]
            for (region, predicted), (_, reference) in zip(*sides, strict=True):
                yield grid, region, predicted, reference

    def components(self) -> Iterator[tuple[Grid, str, Components, Components]]:
        """The same with the components of both masks."""
        for grid, region, predicted, reference in self.masks():
            yield grid, region, find_components(predicted, grid), find_components(reference, grid)

    def skipped(self, values: Sequence[float], why: str) -> str:
        """The part of a note that counts the volumes without a value; empty if all have one."""
        missing = int(np.isnan(values).sum())
        what = "slices" if self.groups.per == "slice" else "volumes"
        return f"{missing} of {len(values)} {what} skipped: {why}" if missing else ""
