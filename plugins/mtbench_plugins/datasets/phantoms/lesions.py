"""Lesions of the lesion phantom: drawing them, and putting them into an anatomy before any scanner sees it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtbench.compute.seeds import generator
from mtbench.errors import DataError
from mtbench_plugins.datasets.phantoms.brain import (
    DEPTH,
    FIELD_OF_VIEW,
    BrainTissue,
    beside_fissure,
    head,
    paint_ventricles,
)
from mtbench_plugins.datasets.phantoms.space import Anatomy, Canvas, Floats, Slab

LESION = 3
"""The label of lesions."""
DIAMETERS = (20.0, 10.0, 5.0)
"""mm, of a sphere of the same volume; the largest first, which needs the most room."""
_THICKEST = 3.0
"""mm of tissue that one slice shows at most; thicker spacing leaves gaps."""
_FROM_SURFACE = 8.0
"""mm from the surface of the brain and from the fissure to a lesion, which keeps it below most of the cortex."""
_APART = 5.0
"""mm between lesions, and 1 mm to the ventricles: two lesions are two components."""


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid.

    Attributes:
        centre: mm to the side from the middle of the slab, from the top, from the left.
        radii: mm to the side, along its axis, athwart.
        angle: radians by which its axis leans to the left as it goes down.
        character: about N(0, 1); how its signal differs from that of others.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    angle: float
    character: float

    @property
    def diameter(self) -> float:
        """mm, of the sphere of the same volume."""
        return 2.0 * math.cbrt(math.prod(self.radii))

    def radius_at(self, side: Floats, down: Floats, across: Floats) -> Floats:
        """1 on the surface, below 1 inside; broadcasts over the mm coordinates."""
        y, x = down - self.centre[1], across - self.centre[2]
        along = y * np.cos(self.angle) - x * np.sin(self.angle)
        athwart = y * np.sin(self.angle) + x * np.cos(self.angle)
        apart = (side - self.centre[0]) / self.radii[0]
        squares = apart**2 + (along / self.radii[1]) ** 2 + (athwart / self.radii[2]) ** 2
        return np.asarray(np.sqrt(squares), np.float32)


@dataclass(frozen=True)
class LesionedAnatomy(Anatomy):
    """An anatomy with lesions.

    Attributes:
        lesions: in the order in which they were added.
        share: float32 on the fine grid, the part of each point's volume that is lesion; an edge is shared.
        lesion_character: float32 on the fine grid, the character of the lesion that is there.
    """

    lesions: tuple[Lesion, ...]
    share: Floats
    lesion_character: Floats


def draw_lesions(
    *names: object, diameters: Sequence[float] = DIAMETERS, besides: Iterable[Lesion] = ()
) -> tuple[Lesion, ...]:
    """One lesion of each diameter for the patient that ``names`` (seed, domain, number, and any more) name.

    A lesion lies below the cortex, outside the ventricles, in the slab, and apart from the others and from those of
    ``besides``. It depends on ``names`` and ``besides`` alone, not on the size and number of slices of the images.

    Args:
        names: the first three name the patient; others ("edit") draw other lesions of the same patient.
        diameters: mm.
        besides: lesions that keep their places.

    Raises:
        DataError: the brain has no room for a lesion.
    """
    rng = generator("phantom-lesions", *names, "lesions")
    slab, room = _room(*names[:3])
    points = np.argwhere(room > 0.0)
    coordinates = (slab.side.ravel(), slab.down.ravel(), slab.across.ravel())
    places = np.stack([axis[points[:, i]] for i, axis in enumerate(coordinates)], axis=1)
    inner = room[tuple(points.T)]
    taken = list(besides)
    drawn = []
    for diameter in diameters:
        stretch = rng.uniform(0.88, 1.14, 2)
        # Three factors whose product is 1: the volume is that of the sphere.
        factors = np.array([stretch[0], stretch[1], 1.0 / stretch.prod()])
        radii = tuple(float(r) for r in factors * diameter / 2)
        free = (inner > max(radii)) & (np.abs(places[:, 0]) < DEPTH / 2 - radii[0])
        for other in taken:
            free &= np.linalg.norm(places - other.centre, axis=1) > max(radii) + max(other.radii) + _APART
        candidates = np.flatnonzero(free)
        angle, character, pick = rng.uniform(-1.5, 1.5), rng.normal(), rng.random()
        if not candidates.size:
            raise DataError(
                f"the brain of patient {names} has no room for another lesion of {diameter:g} mm",
                where="phantom-lesions",
                expected=f"white matter free of the {len(taken)} other lesions",
                remedy="Draw fewer or smaller lesions, or another patient",
            )
        side, down, across = (float(mm) for mm in places[candidates[int(pick * candidates.size)]])
        lesion = Lesion((side, down, across), (radii[0], radii[1], radii[2]), float(angle), float(character))
        drawn.append(lesion)
        taken.append(lesion)
    return tuple(drawn)


def with_lesions(anatomy: Anatomy, lesions: Iterable[Lesion]) -> LesionedAnatomy:
    """``anatomy`` with exactly these lesions, label 3; those that it already has are removed first.

    Adding or removing a lesion changes nothing else, so an edit of a patient is another call with another list.
    """
    slab = anatomy.slab
    share, character = np.zeros(slab.shape, np.float32), np.zeros(slab.shape, np.float32)
    placed = tuple(lesions)
    for lesion in placed:
        box, part = _share(slab, lesion)
        character[box][part > 0.0] = lesion.character
        share[box] = np.maximum(share[box], part)
    labels: NDArray[np.uint8] = np.where(anatomy.labels == LESION, 1, anatomy.labels).astype(np.uint8)
    labels[slab.pixels(share) >= 0.5] = LESION
    plain = Anatomy(slab, anatomy.tissue, anatomy.character, anatomy.depth, labels)
    return LesionedAnatomy(**vars(plain), lesions=placed, share=share, lesion_character=character)


def lesion_mask(anatomy: Anatomy, lesion: Lesion) -> NDArray[np.bool_]:
    """slices x size x size; where ``lesion`` alone would be labelled in the images of ``anatomy``."""
    return np.asarray(with_lesions(anatomy, [lesion]).labels == LESION)


def _share(slab: Slab, lesion: Lesion) -> tuple[tuple[slice, slice, slice], Floats]:
    """A window of the fine grid around a lesion, and the part of each of its points that is lesion."""
    reach = max(lesion.radii) + slab.pixel
    extents = (lesion.radii[0] + slab.thickness, reach, reach)
    windows = []
    for axis, middle, extent in zip((slab.side, slab.down, slab.across), lesion.centre, extents, strict=True):
        low, high = np.searchsorted(axis.ravel(), (middle - extent, middle + extent))
        windows.append(slice(int(low), int(high)))
    box = (windows[0], windows[1], windows[2])
    side, down, across = slab.side[box[0]], slab.down[:, box[1]], slab.across[:, :, box[2]]
    # A slice averages the tissue through its thickness; within the slice, an edge fades over one point of the grid.
    thick = min(slab.thickness, _THICKEST)
    smallest = min(lesion.radii)
    parts = [
        np.clip(0.5 + (1.0 - lesion.radius_at(side + offset * thick, down, across)) * smallest / slab.pixel, 0.0, 1.0)
        for offset in (-0.4, -0.2, 0.0, 0.2, 0.4)
    ]
    return box, np.asarray(np.mean(parts, axis=0), np.float32)


def _room(*names: object) -> tuple[Slab, Floats]:
    """A coarse slab, and mm from each of its points to the nearest place where this patient can have no lesion.

    Always on the same grid, so that images of any size show lesions in the same places.
    """
    slab = Slab(64, 12, FIELD_OF_VIEW, DEPTH)
    shape = head(*names)
    canvas = Canvas(slab)
    paint_ventricles(canvas, shape, 1.0, BrainTissue.VENTRICLE)
    under = np.minimum(shape.below_surface(slab), beside_fissure(slab))
    free = (under > _FROM_SURFACE) & (canvas.tissue != BrainTissue.VENTRICLE)
    # Half a point less: the distance is to the centre of the nearest occupied point.
    distance = ndimage.distance_transform_edt(free, sampling=(slab.thickness, slab.pixel, slab.pixel))
    return slab, np.asarray(np.maximum(distance - slab.pixel / 2, 0.0), np.float32)
