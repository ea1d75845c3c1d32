"""Normalised mutual information of two images (Studholme et al. 1999): (H(A) + H(B)) / H(A, B).

It is 1 for independent images and 2 if each grey level of one determines that of the other. So an unchanged image,
an inverted one, and any other one-to-one change of grey levels have 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtbench import Cases, Context, DataError, MetricInputs, Score

Image = NDArray[np.floating]


def normalised_mutual_information(first: Image, second: Image, bins: int) -> float:
    """From 1 to 2; NaN if either image has one grey level only, whose entropy is 0.

    Args:
        first, second: of one shape, in [0, 1].
        bins: of equal width over [0, 1]; 1 belongs to the last.
    """
    a, b = (np.minimum((image.ravel() * bins).astype(np.int64), bins - 1) for image in (first, second))
    joint = np.bincount(a * bins + b, minlength=bins * bins).reshape(bins, bins)
    one, other, both = (_entropy(counts) for counts in (joint.sum(axis=1), joint.sum(axis=0), joint))
    if min(one, other) == 0:
        return float("nan")
    return min(max((one + other) / both, 1.0), 2.0)


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


class NmiSource:
    """The metric ``nmi-source``.

    Args:
        bins: grey-level bins.
    """

    def __init__(self, bins: int) -> None:
        self._bins = bins

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The mean over slices.

        Raises:
            DataError: translations and sources differ in size, or every slice has a constant image.
        """
        candidate, source = inputs.candidate, inputs.source
        assert candidate is not None
        assert source is not None
        if candidate.size != source.size:
            raise DataError(f"translations are {candidate.size}, their source slices {source.size}", where="nmi-source")
        values = np.array(
            [
                normalised_mutual_information(candidate.floats([i])[0], source.floats([i])[0], self._bins)
                for i in range(len(candidate))
            ]
        )
        constant = int(np.isnan(values).sum())
        if constant == len(values):
            raise DataError("every slice or its source has one grey level only", where="nmi-source")
        cases = Cases("slice", tuple(s.slice_id for s in candidate.slices), candidate.patients, values)
        note = f"{constant} of {len(values)} slices skipped: one grey level only" if constant else ""
        return Score(float(np.nanmean(values)), cases=cases, note=note)
