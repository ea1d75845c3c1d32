"""Lesion-wise Dice and HD95 as the BraTS challenges compute them since 2023 (rachitsaluja/BraTS-2023-Metrics).

Lesions of the reference are the connected components of its dilated mask, so that fragments close to each other count
as one lesion; its voxels are not dilated. A lesion is compared with all whole components of the prediction that
touch it after dilation. Reference lesions up to a given volume are excluded. Components of the prediction that touch no
reference lesion, even a small one, are false positives, of any size. Each false positive and each missed lesion adds
Dice 0 and HD95 374 mm to the means. Components touch at faces, edges and corners; dilation grows by faces and edges.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtbench_plugins.metrics.surface_elements import cells, sizes

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]
WORST = 374.0
"""Millimetres; the HD95 of a lesion that only one side has, as published."""


@dataclass(frozen=True)
class Lesion:
    """One lesion of the reference.

    Attributes:
        volume: in cubic millimetres.
        found: whether a component of the prediction touches it, after dilation.
        dice: with those components.
        hd95: in mm, likewise; ``WORST`` if none touches it.
    """

    volume: float
    found: bool
    dice: float
    hd95: float


@dataclass(frozen=True)
class LesionWise:
    """The lesions of one case.

    Attributes:
        lesions: of the reference, small ones included.
        invented: the number of components of the prediction that touch no lesion.
        smallest: lesions up to this volume (cubic millimetres) do not count.
    """

    lesions: tuple[Lesion, ...]
    invented: int
    smallest: float

    @property
    def counted(self) -> list[Lesion]:
        """The lesions above the smallest volume."""
        return [lesion for lesion in self.lesions if lesion.volume > self.smallest]

    @property
    def dice(self) -> float:
        """Mean over lesions and false positives; 1 if there are none."""
        total = len(self.counted) + self.invented
        return sum(lesion.dice for lesion in self.counted) / total if total else 1.0

    @property
    def hd95(self) -> float:
        """Mean over lesions and false positives, in mm; 0 if there are none."""
        total = len(self.counted) + self.invented
        return (sum(lesion.hd95 for lesion in self.counted) + WORST * self.invented) / total if total else 0.0


def lesion_wise(
    predicted: Mask, reference: Mask, spacing: Spacing, *, dilation: int = 3, smallest: float = 50.0
) -> LesionWise:
    """Match the components of a prediction with the lesions of a reference.

    Args:
        predicted, reference: masks of one volume.
        spacing: mm along each axis.
        dilation: steps of one voxel (BraTS: 3 for gliomas, 1 for metastases and meningiomas).
        smallest: cubic millimetres (BraTS: 50; 2 for metastases).
    """
    from scipy import ndimage

    around = np.ones((3, 3, 3), bool)
    growth = ndimage.generate_binary_structure(3, 2)
    components, count = ndimage.label(predicted, around)
    fused, lesions = ndimage.label(ndimage.binary_dilation(reference, growth, iterations=dilation), around)
    fused[~reference] = 0
    touched: set[int] = set()
    found = []
    boxes = ndimage.find_objects(fused, lesions)
    for number, box in enumerate(boxes, start=1):
        near = tuple(slice(max(side.start - dilation, 0), side.stop + dilation) for side in box)
        grown = ndimage.binary_dilation(fused[near] == number, growth, iterations=dilation)
        matches = set(np.unique(components[near][grown]).tolist()) - {0}
        touched |= matches
        found.append(_lesion(np.isin(components, list(matches)), fused == number, spacing, bool(matches)))
    return LesionWise(tuple(found), count - len(touched), smallest)


def _lesion(predicted: Mask, reference: Mask, spacing: Spacing, found: bool) -> Lesion:
    volume = float(reference.sum()) * float(np.prod(spacing))
    if not found:
        return Lesion(volume, False, 0.0, WORST)
    return Lesion(volume, True, dice(predicted, reference), robust_hausdorff(predicted, reference, spacing))


def dice(predicted: Mask, reference: Mask) -> float:
    """Dice; 1 if both are empty."""
    total = int(predicted.sum()) + int(reference.sum())
    return 2 * int((predicted & reference).sum()) / total if total else 1.0


def whole(predicted: Mask, reference: Mask, spacing: Spacing) -> Mapping[str, float]:
    """The scores of all voxels together, under their published names; HD95 ``WORST`` if one side is empty."""
    both_empty = not predicted.any() and not reference.any()
    one_empty = predicted.any() != reference.any()
    hits = int((predicted & reference).sum())
    negatives, right = int((~reference).sum()), int((~predicted & ~reference).sum())
    return {
        "Legacy_Dice": dice(predicted, reference),
        "Legacy_HD95": WORST if one_empty else 0.0 if both_empty else robust_hausdorff(predicted, reference, spacing),
        "Sensitivity": 1.0 if both_empty else hits / (int(reference.sum()) + sys.float_info.min),
        "Specificity": right / (negatives + sys.float_info.min),
        "GT_Complete_Volume": float(reference.sum()) * float(np.prod(spacing)),
    }


def robust_hausdorff(predicted: Mask, reference: Mask, spacing: Spacing, share: float = 0.95) -> float:
    """The distance in mm within which a share of one surface's area lies from the other; the larger of both directions.

    Surfaces as in :mod:`mtbench_plugins.metrics.surface_elements`. Both masks hold voxels.
    """
    from scipy.ndimage import distance_transform_edt

    either = np.nonzero(predicted | reference)
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in either)
    area = sizes(spacing)
    pieces = [cells(mask[box]) for mask in (predicted, reference)]
    surfaces = [(piece > 0) & (piece < 255) for piece in pieces]
    farthest = 0.0
    for own, other in ((0, 1), (1, 0)):
        distances = distance_transform_edt(~surfaces[other], sampling=spacing)[surfaces[own]]
        areas = area[pieces[own]][surfaces[own]]
        order = np.lexsort((areas, distances))
        covered = np.cumsum(areas[order]) / areas.sum()
        position = min(int(np.searchsorted(covered, share)), len(order) - 1)
        farthest = max(farthest, float(distances[order][position]))
    return farthest
