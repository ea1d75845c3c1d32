"""Whether radiomic features survive translation: Lin's concordance over slices, volumes or patients, for each region
and feature.

Definitions of features: the Image Biomarker Standardisation Initiative (IBSI, arXiv:1612.07003), with its identifiers,
in the plane of a slice or in a volume. Of the intensities x of a region, in the image's own unit:

    mean (Q4LE), variance with 1 / N (ECT3), skewness (KE2A), excess kurtosis (IPH6), median (Y12H), 10th and 90th
    percentile (QG58, 8DWT), interquartile range (SALO)

Of its pixels, in mm where the spacing is known, with the eigenvalues a >= b of the covariance (1 / N) of pixel centres:

    area by counting, major and minor axis 4 sqrt(a) and 4 sqrt(b) (TDIC, P9VJ), elongation sqrt(b / a) (Q3CK), and
    the maximum diameter (L0JK), here between pixel centres

Of the voxels of a volume, with three eigenvalues a >= b >= c:

    volume by counting (YEKZ), surface area of a mesh (C0JK), major, minor and least axis (TDIC, P9VJ, 7J51), elongation
    sqrt(b / a) and flatness sqrt(c / a) (N17B), and the maximum diameter

Concordance (Lin 1989): 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2) with variances 1 / N. It is 1 only if all pairs are
equal: a constant bias lowers it, which a correlation does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.stages.intervals import Measure, Positions
from mtbench_plugins.metrics.paired_metrics import in_own_unit, require_truth
from mtbench_plugins.metrics.regions import (
    Mask,
    Per,
    SliceGroups,
    Spacing,
    groups,
    masks_by_region,
    region_masks,
    volume_spacing,
)
from mtbench_plugins.metrics.surface_elements import cells, sizes

FEWEST = 3
"""Cases with a region below which a concordance is refused."""

Floats = NDArray[np.float64]
Features = Mapping[str, float]
Row = tuple[str, tuple[Features, Features] | None]
"""A region, and its features in translation and truth; ``None`` where it is absent."""


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


def shape(mask: Mask, spacing: Spacing) -> Features:
    """Features of the pixels of a mask that is not empty, in two or three dimensions; lengths as in ``spacing``."""
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask))
    centres = np.argwhere(mask[box]) * np.asarray(spacing)
    around = centres - centres.mean(axis=0)
    *least, minor, major = np.sqrt(np.clip(np.linalg.eigvalsh(around.T @ around / len(around)), 0, None)).tolist()
    axes = {"major axis": 4 * major, "minor axis": 4 * minor}
    ratios = {"elongation": minor / major if major > 0 else 1.0}
    size = len(centres) * float(np.prod(spacing))
    diameter = {"maximum diameter": _diameter(mask[box], spacing)}
    if not least:
        return {"area": size, **axes, **ratios, **diameter}
    axes["least axis"], ratios["flatness"] = 4 * least[0], least[0] / major if major > 0 else 1.0
    area = float(sizes(spacing)[cells(mask[box])].sum())
    return {"volume": size, "surface area": area, **axes, **ratios, **diameter}


def _diameter(mask: Mask, spacing: Spacing) -> float:
    """The largest distance of two pixels.

    Both are corners of the convex hull, and a corner is the first or the last pixel of its line along each axis.
    """
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    corners = mask.copy()
    for axis in range(mask.ndim):
        lines = np.moveaxis(mask, axis, 0)
        first = np.cumsum(lines, axis=0) == 1
        last = np.cumsum(lines[::-1], axis=0)[::-1] == 1
        corners &= np.moveaxis(first | last, 0, axis)
    points = np.argwhere(corners) * np.asarray(spacing)
    if len(points) > 500:
        # A flat set has no hull, and few corners.
        with suppress(QhullError):
            points = points[ConvexHull(points).vertices]
    return float(pdist(points).max()) if len(points) > 1 else 0.0


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
        first, second: of translation and truth, one value for each unit of ``units``; NaN where it lacks the region.
        units: the slices or volumes.
    """

    label: str
    first: Floats
    second: Floats
    units: SliceGroups

    def concordance(self, chosen: Positions | None = None) -> float:
        """Over the cases of some of the slices.

        Raises:
            DataError: fewer than three of them have the region.
        """
        x, y = self._cases(chosen)
        if len(x) < FEWEST:
            raise DataError(
                f"{len(x)} {self.units.per}s have a value of {self.label}",
                where="radiomic-agreement",
                expected=f"at least {FEWEST}",
            )
        return concordance(x, y)

    def note(self) -> str:
        """How many slices or volumes lack the region, or slices."""
        lost, kind = int(np.isnan(self.first).sum()), "slice" if self.units.per == "slice" else "volume"
        skipped = f"{lost} of {len(self.first)} {kind}s skipped: without the region" if lost else ""
        n = "" if self.units.per == "slice" else f"N = {len(self._cases(None)[0])} {self.units.per}s"
        return "; ".join(text for text in (n, skipped, self.units.note()) if text)

    def _cases(self, chosen: Positions | None) -> tuple[Floats, Floats]:
        """The values of both sides in the cases that have the region; a patient's are the mean of its volumes."""
        taken = ~np.isnan(self.first)
        if chosen is not None:
            # Patients are resampled, so all slices of a volume are chosen or none.
            taken &= np.isin([members[0] for members in self.units.members], chosen)
        x, y = self.first[taken], self.second[taken]
        if self.units.per != "patient":
            return x, y
        owners = np.array(self.units.patients)[taken]
        of = [owners == name for name in dict.fromkeys(owners.tolist())]
        return np.array([x[at].mean() for at in of]), np.array([y[at].mean() for at in of])


class RadiomicAgreement:
    """The metric ``radiomic-agreement``.

    Args:
        features: "first-order" or "shape".
        per: "slice", "volume" (features of three dimensions), or "patient": the mean of a patient's volumes.
    """

    def __init__(self, features: str, per: Per = "slice") -> None:
        self._read = _shapes if features == "shape" else _intensities
        self._per = per

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """A score for each region and feature, labelled "REGION: FEATURE".

        Raises:
            DataError: inputs differ in size, a region is in fewer than three cases, or the shape of a volume is wanted
                and it has gaps or an unknown spacing.
        """
        return [Score(pairs.concordance(), label=pairs.label, note=pairs.note()) for pairs in self._pairs(inputs)]

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The scores of some of the slices, whose features are computed once."""
        every = self._pairs(inputs)

        def measure(candidates: Positions | None, references: Positions | None) -> ArrayLike:
            return [pairs.concordance(candidates) for pairs in every]

        return measure

    def _pairs(self, inputs: MetricInputs) -> list[_Pairs]:
        assert inputs.candidate is not None
        if inputs.paired is not None:
            require_truth("radiomic-agreement", inputs.candidate, inputs.paired)
        for masks in (inputs.reference_masks, inputs.predicted_masks):
            if masks is not None:
                _require_size(masks, (len(inputs.candidate), *inputs.candidate.size))
        units = groups(inputs.candidate, self._per)
        regions: dict[str, list[tuple[Features, Features] | None]] = {}
        for members in units.members:
            for region, row in self._read(inputs, members, self._per):
                regions.setdefault(region, []).append(row)
        return [pairs for region, rows in regions.items() for pairs in _paired(region, rows, units)]


def _intensities(inputs: MetricInputs, members: Positions, per: Per) -> Iterator[Row]:
    candidate, paired, masks = inputs.candidate, inputs.paired, inputs.reference_masks
    assert candidate is not None
    assert paired is not None
    assert masks is not None
    x, y = (np.stack([in_own_unit(images, paired, i) for i in members]) for images in (candidate, paired))
    for region, inside in masks_by_region(inputs.task, masks[members], "radiomic-agreement"):
        yield region, (first_order(x[inside]), first_order(y[inside])) if inside.any() else None


def _shapes(inputs: MetricInputs, members: Positions, per: Per) -> Iterator[Row]:
    assert inputs.candidate is not None
    slices = [inputs.candidate.slices[i] for i in members]
    spacing = slices[0].spacing or (1.0, 1.0) if per == "slice" else volume_spacing("radiomic-agreement", slices)
    for region, p, t in region_masks(inputs, "radiomic-agreement", members):
        first, second = (mask[0] if per == "slice" else mask for mask in (p, t))
        yield region, (shape(first, spacing), shape(second, spacing)) if p.any() and t.any() else None


def _paired(region: str, rows: Sequence[tuple[Features, Features] | None], units: SliceGroups) -> list[_Pairs]:
    names = next((list(row[0]) for row in rows if row is not None), None)
    if names is None:
        raise DataError(
            f"no {units.per} has '{region}'", where="radiomic-agreement", expected="masks that are not empty"
        )
    values = np.array(
        [[[np.nan] * len(names)] * 2 if row is None else [list(of.values()) for of in row] for row in rows]
    )
    return [_Pairs(f"{region}: {name}", values[:, 0, at], values[:, 1, at], units) for at, name in enumerate(names)]


def _require_size(masks: NDArray[np.uint8], expected: tuple[int, ...]) -> None:
    if masks.shape != expected:
        raise DataError(f"masks are {masks.shape}", where="radiomic-agreement", expected=f"{expected}")
