"""Whether radiomic features survive translation: Lin's concordance over slices, for each region and feature.

Definitions of features: the Image Biomarker Standardisation Initiative (IBSI, arXiv:1612.07003), with its identifiers,
in the plane of a slice. Of the intensities x of a region, in the image's own unit:

    mean (Q4LE), variance with 1 / N (ECT3), skewness (KE2A), excess kurtosis (IPH6), median (Y12H), 10th and 90th
    percentile (QG58, 8DWT), interquartile range (SALO)

Of its pixels, in mm where the spacing is known, with the eigenvalues a >= b of the covariance (1 / N) of pixel centres:

    area by counting, major and minor axis 4 sqrt(a) and 4 sqrt(b) (TDIC, P9VJ), elongation sqrt(b / a) (Q3CK), and
    the maximum diameter (L0JK), here between pixel centres

Concordance (Lin 1989): 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2) with variances 1 / N. It is 1 only if all pairs are
equal: a constant bias lowers it, which a correlation does not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtbench import Context, DataError, MetricInputs, Score, Slice
from mtbench.stages.intervals import Measure, Positions
from mtbench_plugins.metrics.paired_metrics import in_own_unit, require_truth
from mtbench_plugins.metrics.regions import Mask, masks_by_region

FEWEST = 3
"""Slices with a region below which a concordance is refused."""

Floats = NDArray[np.float64]
Features = Mapping[str, float]


def first_order(values: Floats) -> Features:
    """Intensity features of at least one value; skewness and kurtosis of equal values are 0."""
    tenth, quarter, median, three, ninetieth = np.percentile(values, (10, 25, 50, 75, 90))
    mean = values.mean()
    away = values - mean
    variance = float(np.square(away).mean())
    flat = variance <= 1e-24 * max(float(mean) ** 2, 1e-30)
    return {
        "mean": float(mean),
        "variance": variance,
        "skewness": 0.0 if flat else float((away**3).mean() / variance**1.5),
        "kurtosis": 0.0 if flat else float((away**4).mean() / variance**2 - 3),
        "median": float(median),
        "10th percentile": float(tenth),
        "90th percentile": float(ninetieth),
        "interquartile range": float(three - quarter),
    }


def shape(mask: Mask, spacing: tuple[float, float]) -> Features:
    """Features of the pixels of a mask that is not empty, H x W; lengths in the unit of ``spacing``."""
    centres = np.argwhere(mask) * np.asarray(spacing)
    around = centres - centres.mean(axis=0)
    minor, major = np.sqrt(np.clip(np.linalg.eigvalsh(around.T @ around / len(around)), 0, None))
    return {
        "area": float(len(centres) * spacing[0] * spacing[1]),
        "major axis": 4 * float(major),
        "minor axis": 4 * float(minor),
        "elongation": float(minor / major) if major > 0 else 1.0,
        "maximum diameter": _diameter(mask, spacing),
    }


def _diameter(mask: Mask, spacing: tuple[float, float]) -> float:
    """The largest distance of two pixels, which are the first or last in their rows."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)]) * np.asarray(spacing)
    return float(np.sqrt(np.square(ends[:, None] - ends).sum(axis=2).max()))


def concordance(x: Floats, y: Floats) -> float:
    """Lin's coefficient, -1 to 1; 1 for equal values, also if they are constant."""
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    if spread == 0:
        return 1.0
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / spread)


@dataclass(frozen=True)
class _Pairs:
    """One feature of one region.

    Attributes:
        label: of the score.
        first, second: N, of translation and truth; NaN where a slice lacks the region.
    """

    label: str
    first: Floats
    second: Floats

    def concordance(self, chosen: Positions | None = None) -> float:
        """Over some of the slices.

        Raises:
            DataError: fewer than three of them have the region.
        """
        x, y = (v if chosen is None else v[chosen] for v in (self.first, self.second))
        there = ~(np.isnan(x) | np.isnan(y))
        if there.sum() < FEWEST:
            raise DataError(
                f"{int(there.sum())} slices have a value of {self.label}",
                where="radiomic-agreement",
                expected=f"at least {FEWEST}",
            )
        return concordance(x[there], y[there])


class RadiomicAgreement:
    """The metric ``radiomic-agreement``.

    Args:
        features: "first-order" or "shape".
    """

    def __init__(self, features: str) -> None:
        self._pairs = _shapes if features == "shape" else _intensities

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """A score for each region and feature, labelled "REGION: FEATURE".

        Raises:
            DataError: inputs differ in size, or a region is in fewer than three slices.
        """
        scores = []
        for pairs in self._pairs(inputs):
            skipped = int((np.isnan(pairs.first) | np.isnan(pairs.second)).sum())
            note = f"{skipped} of {len(pairs.first)} slices skipped: without the region" if skipped else ""
            scores.append(Score(pairs.concordance(), label=pairs.label, note=note))
        return scores

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The scores of some of the slices, whose features are computed once."""
        every = self._pairs(inputs)

        def measure(candidates: Positions | None, references: Positions | None) -> ArrayLike:
            return [pairs.concordance(candidates) for pairs in every]

        return measure


def _intensities(inputs: MetricInputs) -> list[_Pairs]:
    candidate, paired, masks = inputs.candidate, inputs.paired, inputs.reference_masks
    assert candidate is not None
    assert paired is not None
    assert masks is not None
    require_truth("radiomic-agreement", candidate, paired)
    _require_size(masks, (len(candidate), *candidate.size))
    made, true = (
        np.stack([in_own_unit(images, paired, i) for i in range(len(paired))]) for images in (candidate, paired)
    )
    result: list[_Pairs] = []
    for region, inside in masks_by_region(inputs.task, np.asarray(masks), "radiomic-agreement"):
        rows = [
            (first_order(x[where]), first_order(y[where])) if where.any() else None
            for x, y, where in zip(made, true, inside, strict=True)
        ]
        result += _paired(region, rows)
    return result


def _shapes(inputs: MetricInputs) -> list[_Pairs]:
    candidate, predicted, reference = inputs.candidate, inputs.predicted_masks, inputs.reference_masks
    assert candidate is not None
    assert predicted is not None
    assert reference is not None
    for masks in (predicted, reference):
        _require_size(masks, (len(candidate), *candidate.size))
    result: list[_Pairs] = []
    found, true = (
        dict(masks_by_region(inputs.task, np.asarray(masks), "radiomic-agreement")) for masks in (predicted, reference)
    )
    for region in true:
        rows = [
            (shape(p, _spacing(record)), shape(t, _spacing(record))) if p.any() and t.any() else None
            for p, t, record in zip(found[region], true[region], candidate.slices, strict=True)
        ]
        result += _paired(region, rows)
    return result


def _paired(region: str, rows: Sequence[tuple[Features, Features] | None]) -> list[_Pairs]:
    names = next((list(row[0]) for row in rows if row is not None), None)
    if names is None:
        raise DataError(f"no slice has '{region}'", where="radiomic-agreement", expected="masks that are not empty")
    values = np.array(
        [[[np.nan] * len(names)] * 2 if row is None else [list(of.values()) for of in row] for row in rows]
    )
    return [_Pairs(f"{region}: {name}", values[:, 0, at], values[:, 1, at]) for at, name in enumerate(names)]


def _spacing(record: Slice) -> tuple[float, float]:
    return record.spacing or (1.0, 1.0)


def _require_size(masks: NDArray[np.uint8], expected: tuple[int, ...]) -> None:
    if masks.shape != expected:
        raise DataError(f"masks are {masks.shape}", where="radiomic-agreement", expected=f"{expected}")
