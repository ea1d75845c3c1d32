"""Dice coefficients of label maps, slice by slice or patient by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, MetricInputs, Score
from mtbench_plugins.metrics.regions import Per, groups, mean_score, region_masks


@dataclass(frozen=True)
class Dice:
    """The Dice coefficient of each region of the task, mean over slices or patients.

    A case's value is (2 |P and T| + s) / (|P| + |T| + s), with pixel counts and s = ``smooth`` (default 1e-4, which
    matters only if both masks are nearly empty). Both masks empty: 1 under ``empty="1"``, excluded from the mean under
    ``empty="skip"``. One of them empty: s / (|P| + |T| + s), close to 0.

    Args:
        per: "slice": each slice is a case; "patient": all slices of a patient's case (volume) are counted
            together, and a patient with several cases is the mean of them.
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
        scores = []
        for region, predicted, reference in region_masks(inputs, "dice"):
            common = _count(predicted & reference)
            p, r = _count(predicted), _count(reference)
            values = [self.of_counts(common[g].sum(), p[g].sum(), r[g].sum()) for g in cases.members]
            scores.append(mean_score("dice", region, cases, values))
        return scores

    def of_counts(self, common: int, predicted: int, reference: int) -> float:
        """The coefficient of one case from pixel counts; NaN where it has none."""
        if predicted + reference == 0:
            return 1.0 if self.empty == "1" else float("nan")
        return (2.0 * common + self.smooth) / (predicted + reference + self.smooth)


def _count(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = masks.sum(axis=(1, 2), dtype=np.int64)
    return counts
