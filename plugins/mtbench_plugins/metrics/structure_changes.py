"""How much of each structure a translation adds and removes, as its segmentation shows.

Added: the volume of a region in the segmentation of the translation where the source's mask has none; removed: the
reverse. ``count="voxels"`` counts every voxel, so a contour that is off by a pixel counts; ``count="components"`` only
whole structures, those of the ledger's items "added" and "removed" (:mod:`mtbench.ledger`).

A segmenter also errs on real images: compare with the row ``truth``, or ``oracle``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.ledger import Grid, Rules, find_items
from mtbench_plugins.metrics.regions import Per, mean_score
from mtbench_plugins.metrics.structures import Volumes


@dataclass(frozen=True)
class Changes:
    """The metric ``changes``.

    A region that no reference mask shows may be absent or not annotated: unknown. It is skipped.

    Args:
        change: "added" or "removed".
        per: what a case is; a patient is the mean of its volumes.
        count: see the module.
        overlap: for components, the smallest IoU at which two components are the same structure; at 0, any voxel.
    """

    change: Literal["added", "removed"] = "added"
    per: Per = "patient"
    count: Literal["voxels", "components"] = "voxels"
    overlap: float = 0.1

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region that a reference mask shows, in mL; mm2 without thickness, pixels without spacing.

        Raises:
            DataError: masks do not fit, a volume has two spacings, or no reference mask shows a region.
        """
        volumes = Volumes.of(inputs, "changes", self.per)
        unit = volumes.size_unit
        values: dict[str, list[float]] = {name: [] for name in inputs.task.regions}
        shown: dict[str, list[int]] = {name: [0, 0] for name in inputs.task.regions}
        for grid, region, predicted, reference in volumes.masks():
            shown[region][0] += bool(predicted.any())
            shown[region][1] += bool(reference.any())
            values[region].append(grid.size(self._voxels(predicted, reference, grid), unit))
        known = [region for region, (_, count) in shown.items() if count]
        if not known:
            raise DataError(
                f"no reference mask shows {', '.join(shown)}",
                where="changes",
                expected="at least one, because a region that no mask shows may not be annotated",
            )
        return [
            mean_score("changes", region, volumes.groups, values[region], note=_note(unit, shown[region][0]))
            for region in known
        ]

    def _voxels(self, predicted: NDArray[np.bool_], reference: NDArray[np.bool_], grid: Grid) -> int:
        if self.count == "voxels":
            there, elsewhere = (predicted, reference) if self.change == "added" else (reference, predicted)
            return int((there & ~elsewhere).sum())
        labels = [mask.astype(np.uint8) for mask in (predicted, reference)]
        items = find_items(labels[0], labels[1], {"": (1,)}, grid, rules=Rules(overlap=self.overlap))
        return sum(item.shown.voxels for item in items if item.kind == self.change)


def _note(unit: str, predicted: int) -> str:
    lost = "; no predicted mask shows it: lost everywhere, or not a label of the segmenter"
    return f"in {unit}{'' if predicted else lost}"
