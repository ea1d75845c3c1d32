"""Hausdorff distances and surface Dice, from the exact distance of each piece of surface to the nearest of the other.

The surface of a mask consists of its pixels with a neighbour (4 in a slice, 6 in a volume) outside of it; everything
beyond the image is outside. Distances are between centres of surface pixels. MONAI uses the same definitions.

Surface Dice by area, as published, uses pieces of surface between the pixels instead, each with its size:
:mod:`mtbench_plugins.metrics.surface_elements`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score, Slice
from mtbench_plugins.metrics.regions import (
    Mask,
    Per,
    Spacing,
    groups,
    mean_score,
    region_masks,
    regions_of,
    require_memory_for_volume,
    volume_spacing,
)
from mtbench_plugins.metrics.surface_elements import cells, sizes

MeasureUnit = Literal["auto", "mm", "pixels"]
Distances = NDArray[np.float64]
_BYTES = 16
"""Of memory for each voxel, unless surfaces fill much of the volume."""
MaskMeasure = Callable[[Mask, Mask, Spacing], float]


@dataclass(frozen=True)
class Hausdorff95:
    """The larger of the two directed 95th percentiles of surface distances, mean over slices, volumes or patients.

    A case with both masks empty has no value and is excluded. With one of them empty there is no distance:
    under ``missing="diagonal"`` it counts as the diagonal of the image (volume), which no distance exceeds, so that
    missing a structure is never better than segmenting it badly; under ``missing="skip"`` the case is excluded.

    Args:
        per: "slice" measures contours; "volume" measures the surface of each volume in mm; "patient" is the mean of a
            patient's volumes. A volume of one slice has no surface: its contour is measured.
        measure_unit: of distances. "auto": mm if every slice has a spacing, pixels if none has.
        missing: see above.
    """

    per: Per = "slice"
    measure_unit: MeasureUnit = "auto"
    missing: Literal["diagonal", "skip"] = "diagonal"

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task.

        Raises:
            DataError: masks do not fit, only some slices have a spacing, a spacing is needed and absent, a volume has
                gaps, or no case has a value.
        """
        return _scores("hd95", inputs, self.per, self.measure_unit, self.of_masks)

    def of_masks(self, predicted: Mask, reference: Mask, spacing: Spacing) -> float:
        """The value of one case; NaN where it has none."""
        in_predicted, in_reference = predicted.any(), reference.any()
        if in_predicted and in_reference:
            distances = surface_distances(predicted, reference, spacing)
            return float(max(np.percentile(d, 95) for d in distances))
        if in_predicted == in_reference or self.missing == "skip":
            return float("nan")
        return float(np.linalg.norm([(n - 1) * step for n, step in zip(predicted.shape, spacing, strict=True)]))


@dataclass(frozen=True)
class SurfaceDice:
    """The share of both surfaces that lies within ``tolerance`` of the other, mean over slices, volumes or patients.

    Both masks empty: 1 under ``empty="1"``, excluded under ``empty="skip"``. One of them empty: 0.

    Args:
        per, measure_unit: as for :class:`Hausdorff95`.
        count: the unit of the share. "area": the area of the surface between the pixels (of a slice: the length of
            the contour), as Nikolov et al. 2021 define it. "voxels": the number of surface pixels or voxels, which
            depends on how the surface runs across the grid.
        tolerance: in that unit.
        empty: see above.
    """

    per: Per = "slice"
    measure_unit: MeasureUnit = "auto"
    count: Literal["area", "voxels"] = "area"
    tolerance: float = 2.0
    empty: Literal["1", "skip"] = "1"

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task.

        Raises:
            DataError: as for :class:`Hausdorff95`.
        """
        return _scores("nsd", inputs, self.per, self.measure_unit, self.of_masks)

    def of_masks(self, predicted: Mask, reference: Mask, spacing: Spacing) -> float:
        """The value of one case; NaN where it has none."""
        in_predicted, in_reference = predicted.any(), reference.any()
        if not in_predicted and not in_reference:
            return 1.0 if self.empty == "1" else float("nan")
        if not in_predicted or not in_reference:
            return 0.0
        if self.count == "area":
            elements = element_distances(predicted, reference, spacing, self.tolerance)
            near = sum(float(size[distances <= self.tolerance].sum()) for distances, size in elements)
            return near / sum(float(size.sum()) for _, size in elements)
        distances = surface_distances(predicted, reference, spacing, self.tolerance)
        return float(sum((d <= self.tolerance).sum() for d in distances) / sum(map(len, distances)))


def surface_distances(
    first: Mask, second: Mask, spacing: Spacing, within: float = math.inf
) -> tuple[Distances, Distances]:
    """The distance from each surface pixel of one mask to the nearest of the other, both ways.

    Args:
        first, second: bool, of one shape in any number of dimensions, neither empty.
        spacing: of each axis.
        within: longer distances may be infinite, which is faster.
    """
    box = _box(first, second)
    one, other = surface(first[box]), surface(second[box])
    return nearest(one, other, spacing, within), nearest(other, one, spacing, within)


def element_distances(
    first: Mask, second: Mask, spacing: Spacing, within: float = math.inf
) -> tuple[tuple[Distances, Distances], tuple[Distances, Distances]]:
    """The distance from each piece of one mask's surface to the nearest of the other, and the pieces' sizes, both ways.

    Args:
        first, second: bool, of one shape in two or three dimensions, neither empty.
        spacing: of each axis.
        within: longer distances may be infinite, which is faster.
    """
    box = _box(first, second)
    numbers = [cells(mask[box]) for mask in (first, second)]
    table = sizes(spacing)
    one, other = ((number > 0) & (number < len(table) - 1) for number in numbers)
    return (
        (nearest(one, other, spacing, within), table[numbers[0][one]]),
        (nearest(other, one, spacing, within), table[numbers[1][other]]),
    )


def nearest(points: Mask, others: Mask, spacing: Spacing, within: float = math.inf) -> Distances:
    """The distance of each point to the nearest of the others, in the order of the grid.

    A tree of the points of a surface takes a quarter of the time of a distance transform of the volume around it.

    Args:
        points, others: bool, of one shape, true at the points.
        spacing: of each axis.
        within: longer distances may be infinite.
    """
    from scipy.spatial import KDTree

    # Surfaces that agree share most of their points, which need no search.
    alone = ~others[points]
    distances = np.where(alone, math.inf, 0.0)
    step, places, searched = np.asarray(spacing), np.argwhere(others), np.argwhere(points & ~others)
    tree = KDTree(places * step, balanced_tree=False, compact_nodes=False)
    # A little more than the limit, because the tree rounds.
    _, at = tree.query(searched * step, distance_upper_bound=within * (1.0 + 1e-6) + 1e-9)
    known = at < len(places)
    # From differences of whole numbers, so that a distance of three pixels is no longer than a tolerance of three.
    apart = (searched[known] - places[at[known]]) * step
    distances[np.flatnonzero(alone)[known]] = np.sqrt(np.square(apart).sum(axis=1))
    return distances


def _box(first: Mask, second: Mask) -> tuple[slice, ...]:
    """The box around both masks, which are not both empty; pixels outside it change no distance."""
    either = first | second
    ends = []
    for axis in range(either.ndim):
        there = np.flatnonzero(either.any(axis=tuple(a for a in range(either.ndim) if a != axis)))
        ends.append(slice(int(there[0]), int(there[-1]) + 1))
        either = either[(slice(None),) * axis + (ends[-1],)]
    return tuple(ends)


def surface(mask: Mask) -> Mask:
    """The pixels of a mask with a direct neighbour outside of it or of the image."""
    padded = np.pad(mask, 1)
    inside = np.ones_like(mask)
    for axis in range(mask.ndim):
        for shift in (0, 2):
            window: list[Any] = [slice(1, -1)] * mask.ndim
            window[axis] = slice(shift, shift + mask.shape[axis])
            inside &= padded[tuple(window)]
    return mask & ~inside


def _scores(
    metric: str, inputs: MetricInputs, per: Per, measure_unit: MeasureUnit, of_masks: MaskMeasure
) -> list[Score]:
    assert inputs.candidate is not None
    grouping, slices = groups(inputs.candidate, per), inputs.candidate.slices
    measure_unit = _measure_unit(metric, inputs.candidate, per, measure_unit)
    steps = [_spacing(metric, [slices[i] for i in members], measure_unit) for members in grouping.members]
    values: dict[str, list[float]] = {region: [] for region in regions_of(inputs.task, metric)}
    for members, step in zip(grouping.members, steps, strict=True):
        require_memory_for_volume(metric, members, inputs.candidate.size, _BYTES)
        for region, p, r in region_masks(inputs, metric, members):
            values[region].append(of_masks(p, r, step) if len(members) > 1 else of_masks(p[0], r[0], step))
    flat = 0 if per == "slice" else sum(len(members) == 1 for members in grouping.members)
    alone = f"; {flat} of {len(steps)} volumes have one slice, whose contour is measured" if flat else ""
    scores = []
    for region, of in values.items():
        without = int(np.isnan(of).sum())
        left_out = f"; {without} of {len(of)} cases have no value" if without else ""
        scores.append(mean_score(metric, region, grouping, of, note=f"distances in {measure_unit}{alone}{left_out}"))
    return scores


def _measure_unit(metric: str, images: ImageSet, per: Per, measure_unit: MeasureUnit) -> MeasureUnit:
    with_spacing = sum(s.spacing is not None for s in images.slices)
    if per != "slice" and measure_unit == "auto":
        measure_unit = "mm"
    if measure_unit == "auto":
        if 0 < with_spacing < len(images):
            raise DataError(
                f"{with_spacing} of {len(images)} slices have a spacing",
                where=metric,
                expected="all of them or none",
                remedy="Add the spacing of the others, or use measure_unit=pixels",
            )
        measure_unit = "mm" if with_spacing else "pixels"
    if measure_unit == "mm" and with_spacing < len(images):
        raise DataError(
            f"{len(images) - with_spacing} of {len(images)} slices have no spacing",
            where=metric,
            expected="the spacing of every slice, for distances in mm",
            remedy="Use per=slice with measure_unit=pixels",
        )
    if measure_unit == "pixels" and per != "slice":
        raise DataError(
            "distances across slices cannot be measured in pixels",
            where=metric,
            expected="measure_unit=mm, or per=slice",
        )
    return measure_unit


def _spacing(metric: str, slices: Sequence[Slice], measure_unit: MeasureUnit) -> Spacing:
    """Of the axes of one slice, or of one volume."""
    if len(slices) > 1:
        return volume_spacing(metric, slices)
    spacing = slices[0].spacing
    if measure_unit == "pixels":
        return (1.0, 1.0)
    assert spacing is not None
    return spacing
