"""Dice coefficients of label maps, by slice, volume or patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtbench import Context, MetricInputs, Score
from mtbench_plugins.metrics.regions import Per, groups, mean_score, region_masks, regions_of

BLOCK = 32
"""Slices whose masks are in memory at the same time."""


@dataclass(frozen=True)
class Dice:
    """The Dice coefficient of each region of the task, mean over slices, volumes or patients.

    A case's value is (2 |P and T| + s) / (|P| + |T| + s), with pixel counts and s = ``smooth`` (default 1e-4, which
    matters only if both masks are nearly empty). Both masks empty: 1 under ``empty="1"``, excluded from the mean under
    ``empty="skip"``. One of them empty: s / (|P| + |T| + s), close to 0.

    Args:
        per: "slice": each slice is a case; "volume": all slices of a volume are counted together; "patient": the mean
            of a patient's volumes.
        empty: see above.
        smooth: s, in pixels.
    """

    per: Per = "slice"
    empty: Literal["1", "skip"] = "1"
    smooth: float = 1e-4

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task, labelled with its name.

        Raises:
            DataError: masks and slices differ in number or size, or no case has a value.
        """
        assert inputs.candidate is not None
        cases = groups(inputs.candidate, self.per)
        names = regions_of(inputs.task, "dice")
        # Of each slice and region: pixels in both masks, in the predicted one, in the reference.
        counts = np.zeros((len(inputs.candidate), len(names), 3), np.int64)
        for start in range(0, len(counts), BLOCK):
            block = slice(start, start + BLOCK)
            for at, (_, predicted, reference) in enumerate(region_masks(inputs, "dice", block)):
                for kind, mask in enumerate((predicted & reference, predicted, reference)):
                    counts[block, at, kind] = mask.sum(axis=(1, 2), dtype=np.int64)
        sums = np.array([counts[members].sum(axis=0) for members in cases.members])
        return [
            mean_score("dice", region, cases, [self.of_counts(*of.tolist()) for of in sums[:, at]])
            for at, region in enumerate(names)
        ]

    def of_counts(self, common: int, predicted: int, reference: int) -> float:
        """The coefficient of one case from pixel counts; NaN where it has none."""
        if predicted + reference == 0:
            return 1.0 if self.empty == "1" else float("nan")
        return (2.0 * common + self.smooth) / (predicted + reference + self.smooth)
