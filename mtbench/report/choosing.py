"""Which slices to show: worst, median and best by a segmentation metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

PLACES = ("worst", "median", "best")

Values = Mapping[int, Mapping[str, float]]
"""Column to slice id to value."""


def choose(
    ids: Sequence[str],
    values: Mapping[str, Values],
    fair: Sequence[str],
    higher_is_better: bool,
    slices: Sequence[str] = (),
) -> tuple[dict[int, list[str]], dict[int, float]]:
    """Positions of the slices to show with the reasons for each, and the mean value of every slice.

    Args:
        ids: the slices in order.
        values: for each translator's printed name, its values by region and slice.
        fair: the translators whose mean decides; all translators if none of these has values.
        higher_is_better: of the values.
        slices: "worst", "median", "best" or slice ids; if empty, those three and each translator's worst.
            Without values, the first, middle and last slice replace them.
    """
    reasons: dict[int, list[str]] = {}
    for name in slices:
        if name in ids:
            reasons.setdefault(ids.index(name), []).append("chosen")
    places = [place for place in PLACES if not slices or place in slices]
    means = {
        name: _mean(np.array([[v.get(i, np.nan) for i in ids] for v in of.values()])) for name, of in values.items()
    }
    deciding_means = [mean for name, mean in means.items() if name in fair] or list(means.values())
    if not deciding_means:
        for place in places:
            i = {"worst": 0, "median": len(ids) // 2, "best": len(ids) - 1}[place]
            reasons.setdefault(i, []).append({"worst": "first", "median": "middle", "best": "last"}[place])
        return reasons, {}
    overall = _mean(np.stack(deciding_means))
    sign = 1.0 if higher_is_better else -1.0
    for place in places:
        for i in _at(sign * overall, place):
            reasons.setdefault(i, []).append(place)
    if not slices and len(means) > 1:
        for name, mean in means.items():
            for i in _at(sign * mean, "worst"):
                reasons.setdefault(i, []).append(f"worst of {name}")
    return reasons, {i: float(v) for i, v in enumerate(overall) if np.isfinite(v)}


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the finite values of each column; NaN if there is none."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis=0)
    return np.asarray(np.where(finite.any(axis=0), total / np.maximum(finite.sum(axis=0), 1), np.nan), dtype=np.float64)


def _at(means: NDArray[np.float64], place: str) -> list[int]:
    order = [int(i) for i in np.argsort(means, kind="stable") if np.isfinite(means[i])]
    if not order:
        return []
    return [order[{"worst": 0, "median": len(order) // 2, "best": len(order) - 1}[place]]]
