"""How far intensities are off within each region of the masks, in the image's own unit (HU for CT).

Of a case (a slice, or a volume) with translation x, truth y and the pixels of a region R:

- ``mae``: mean over R of |x - y|;
- ``bias``: |mean over R of (x - y)|, in which errors of opposite sign cancel. Its sign is in the note: a dose
  calculation on a translation whose bone is 50 HU too low is wrong in one direction.

Regions are those of the masks that belong to the anatomy of the source slices, which the truth shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtbench import Context, DataError, MetricInputs, Score
from mtbench_plugins.metrics.paired_metrics import in_own_unit, measure_unit_of, require_truth
from mtbench_plugins.metrics.regions import Per, groups, masks_by_region, mean_score, regions_of


@dataclass(frozen=True)
class TissueError:
    """The metric ``tissue-error``.

    Args:
        error: "mae" or "bias".
        per: "slice", "volume": all voxels of a volume together, or "patient": the mean of a patient's volumes.
    """

    error: Literal["mae", "bias"] = "mae"
    per: Per = "slice"

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task; cases without the region are skipped and counted in the note.

        Raises:
            DataError: candidates, truth and masks differ in size, units differ, or no case has a region.
        """
        candidate, paired, masks = inputs.candidate, inputs.paired, inputs.reference_masks
        assert candidate is not None
        assert paired is not None
        assert masks is not None
        require_truth("tissue-error", candidate, paired)
        if masks.shape != (len(candidate), *candidate.size):
            raise DataError(f"masks are {masks.shape}", where="tissue-error", expected="one of the images' size each")
        unit = measure_unit_of("tissue-error", paired) or "stored values, 0 to 1"
        cases, scores = groups(paired, self.per), []
        errors: dict[str, list[tuple[float, float]]] = {
            region: [] for region in regions_of(inputs.task, "tissue-error")
        }
        for members in cases.members:
            error = np.stack([in_own_unit(candidate, paired, i) - in_own_unit(paired, paired, i) for i in members])
            for region, inside in masks_by_region(inputs.task, masks[members], "tissue-error"):
                part = error[inside]
                errors[region].append((part.mean(), np.abs(part).mean()) if part.size else (np.nan, np.nan))
        for region, pairs in errors.items():
            signed, sizes = np.array(pairs).T
            skipped = int(np.isnan(signed).sum())
            note = f"in {unit}"
            if skipped < len(signed):
                note += f"; signed mean error {np.nanmean(signed):+.3g}"
            note += f"; {skipped} of {len(signed)} cases skipped: without {region}" if skipped else ""
            values = np.abs(signed) if self.error == "bias" else sizes
            scores.append(mean_score("tissue-error", region, cases, values.tolist(), note=note))
        return scores
