"""What `lesions`, `lesion-error` and `changes` share: the volumes of a set of slices, their grids and units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mtbench import MetricInputs
from mtbench.ledger import Components, Grid, LengthUnit, SizeUnit, find_components
from mtbench_plugins.metrics.regions import (
    Mask,
    Per,
    SliceGroups,
    groups,
    region_masks,
    regions_of,
    require_memory_for_volume,
)

_BYTES = 24
"""Of memory for each voxel: masks, and the numbers of their components."""


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
            DataError: the task has no regions, or slices of one volume differ in spacing.
        """
        regions_of(inputs.task, metric)
        assert inputs.candidate is not None
        candidate = inputs.candidate
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

    def masks(self) -> Iterator[tuple[Grid, str, Mask, Mask]]:
        """Grid, region, predicted and reference mask of each region of each volume; one volume in memory at a time.

        Raises:
            DataError: masks do not fit; see :func:`mtbench_plugins.metrics.regions.region_masks`. A volume needs more
                memory than is free.
        """
        assert self.inputs.candidate is not None
        for grid, members in zip(self.grids, self.groups.members, strict=True):
            require_memory_for_volume(self.metric, members, self.inputs.candidate.size, _BYTES)
            for region, predicted, reference in region_masks(self.inputs, self.metric, members):
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
