"""The Inception Score (Salimans et al. 2016): exp of the mean KL(p(y|x) || p(y)) over classes y, by splits.

Split i of S holds the images i N // S up to (i + 1) N // S, after a shuffle by NumPy's ``RandomState(seed)``,
as torch-fidelity does. The score of a split of k images cannot exceed k.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.stages.intervals import Measure
from mtbench_plugins.metrics.resampling import class_spread_measure, split_numbers


def split_scores(
    logits: NDArray[np.floating], splits: int, *, shuffle: bool = True, seed: int = 2020
) -> NDArray[np.float64]:
    """The score of each split.

    Args:
        logits: N x classes, before the softmax.

    Raises:
        DataError: fewer images than splits, or scores that are not finite.
    """
    count = len(logits)
    if count < splits:
        raise DataError(
            f"the Inception Score needs at least one image per split, and there are {count} images for {splits} splits",
            remedy=f"Set splits to at most {count}" if count else "Provide images",
        )
    order = np.random.RandomState(seed).permutation(count) if shuffle else np.arange(count)
    values = []
    for index in range(splits):
        # Split by split, as the logits of many images in float64 are a lot of memory.
        rows = order[index * count // splits : (index + 1) * count // splits]
        part = torch.from_numpy(logits[rows].astype(np.float64))
        if not torch.isfinite(part).all():
            raise DataError("the class scores hold NaN or infinite values")
        part = part.log_softmax(1)
        # The mean of p in the logarithm, so that a class without images gives 0 and not 0 * infinity.
        log_marginal = part.logsumexp(0) - np.log(len(part))
        divergence = (part.exp() * (part - log_marginal)).sum(1).mean()
        values.append(float(divergence.exp()))
    return np.array(values)


class InceptionScore:
    """The metric ``is``.

    Args:
        splits, shuffle, seed: see the spec; the others select the features.
    """

    def __init__(self, splits: int, shuffle: bool, seed: int, **features: object) -> None:
        self._splits = splits
        self._shuffle = shuffle
        self._seed = seed

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The mean over the splits of all translated images."""
        logits = inputs.features["candidate"]["logits"]
        values = split_scores(logits, self._splits, shuffle=self._shuffle, seed=self._seed)
        largest = -(-len(logits) // self._splits)
        note = ""
        if largest < logits.shape[1]:
            note = f"With {largest} images per split, IS cannot exceed {largest}"
        return Score(float(values.mean()), note=note)

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The score of some of the slices, each staying in its split; see ``mtbench.stages.intervals.Measure``."""
        logits = inputs.features["candidate"]["logits"]
        count = len(logits)
        order = np.random.RandomState(self._seed).permutation(count) if self._shuffle else np.arange(count)
        return class_spread_measure(logits, split_numbers(order, self._splits))
