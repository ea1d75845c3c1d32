"""Anatomy of the lesion phantom: an axial slab through a head without lesions, forehead up, right side on the left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mtbench.compute.seeds import generator
from mtbench_plugins.datasets.phantoms.space import Anatomy, Bools, Canvas, Floats, Slab

FIELD_OF_VIEW = 220.0
"""mm per side."""
DEPTH = 36.0
"""mm through all slices, the lateral ventricles about the middle."""
_MIDDLE = FIELD_OF_VIEW / 2


class BrainTissue(IntEnum):
    """The tissues of a head; lesions are not painted but mixed in (``lesions.py``)."""

    AIR = 0
    SKIN = 1
    FAT = 2
    BONE = 3
    MARROW = 4
    CSF = 5
    GREY = 6
    WHITE = 7
    HALO = 8
    DEEP_GREY = 9
    VENTRICLE = 10


@dataclass(frozen=True)
class Head:
    """The shape of a patient's head, mm.

    Attributes:
        half_length, half_width: of the brain in the middle of the slab.
        level: height of that middle above the widest section of the brain; the sections above it are smaller.
        egg: share by which the back is wider than the front.
        age: factor on the width of the ventricles.
        scalp: thickness of the fat below the skin.
        skull: thickness of the bone.
    """

    half_length: float
    half_width: float
    level: float
    egg: float
    age: float
    scalp: float
    skull: float

    def below_surface(self, slab: Slab) -> Floats:
        """mm below the surface of a smooth brain, slices x n x n; negative outside."""
        shrink = np.sqrt(1.0 - ((slab.side + self.level) / 80.0) ** 2) / np.sqrt(1.0 - (self.level / 80.0) ** 2)
        length = self.half_length * shrink
        down, across = slab.down - _MIDDLE, slab.across - _MIDDLE
        width = self.half_width * shrink * (1.0 + self.egg * down / self.half_length)
        radius = np.sqrt((down / length) ** 2 + (across / width) ** 2) + 1e-6
        # The distance to an ellipse to first order: how far its function is from 1, over the slope of the function.
        slope = np.sqrt((down / length**2) ** 2 + (across / width**2) ** 2) / radius + 1e-6
        return np.asarray((1.0 - radius) / slope, np.float32)


def head(*names: object) -> Head:
    """The head of the patient that ``names`` (seed, domain, number) name."""
    rng = generator("phantom-lesions", *names, "head")
    return Head(
        half_length=rng.uniform(76.0, 84.0),
        half_width=rng.uniform(61.0, 68.0),
        level=rng.uniform(14.0, 24.0),
        egg=rng.uniform(0.03, 0.09),
        age=rng.uniform(0.7, 1.5),
        scalp=rng.uniform(2.5, 5.0),
        skull=rng.uniform(5.0, 7.5),
    )


def beside_fissure(slab: Slab) -> Floats:
    """mm to the fissure between the hemispheres, 1 x n x n, negative inside it.

    It lies more than 30 mm before and behind the centre; between, the hemispheres are joined.
    """
    down, across = np.abs(slab.down - _MIDDLE), np.abs(slab.across - _MIDDLE)
    return np.asarray(np.where(down > 30.0, across, np.maximum(across, 30.0 - down)) - 0.9, np.float32)


def paint_ventricles(canvas: Canvas, shape: Head, margin: float, tissue: BrainTissue) -> None:
    """Paint the lateral and the third ventricle, each enlarged by ``margin`` mm, as ``tissue``."""
    for hand in (-1.0, 1.0):
        # Frontal horn, body and occipital horn of one side; they lean apart at both ends.
        for side, down, across, radii, lean in (
            (2.0, -22.0, 8.5, (11.0, 13.0, 3.6), 0.35),
            (7.0, 0.0, 9.0, (9.0, 20.0, 4.2), -0.1),
            (-1.0, 27.0, 17.0, (10.0, 15.0, 3.8), -0.35),
        ):
            centre = (side, _MIDDLE + down, _MIDDLE + hand * across * shape.age**0.5)
            grown = (radii[0] + margin, radii[1] + margin, radii[2] * shape.age + margin)
            canvas.ellipsoid(centre, grown, tissue, angle=hand * lean)
    third = (9.0 + margin, 10.0 + margin, 1.4 * shape.age + margin)
    canvas.ellipsoid((-9.0, _MIDDLE + 6.0, _MIDDLE), third, tissue)


def brain_anatomy(size: int, slices: int, *names: object) -> Anatomy:
    """The anatomy without lesions of the patient that ``names`` (seed, domain, number) name.

    Label 1 is the brain, 2 its ventricles. Any size and number of slices shows the same patient.
    """
    rng = generator("phantom-lesions", *names, "anatomy")
    slab = Slab(size, slices, FIELD_OF_VIEW, DEPTH)
    canvas = Canvas(slab)
    shape = head(*names)
    below = shape.below_surface(slab) + 1.2 * slab.field(rng, 60.0, 30.0, 30.0)
    brain: Bools = below > 0.0
    _shell(canvas, shape, below, rng)
    _cortex(canvas, below, rng)
    _spaces(canvas, below, rng)
    paint_ventricles(canvas, shape, 2.2, BrainTissue.HALO)
    _deep_grey(canvas, rng)
    paint_ventricles(canvas, shape, 0.0, BrainTissue.VENTRICLE)
    depth = np.maximum(below + 3.0 + shape.skull + shape.scalp + 2.0, 0.0)
    organ = slab.pixels(brain.astype(np.float32))
    ventricle = slab.pixels((canvas.tissue == BrainTissue.VENTRICLE).astype(np.float32))
    labels = (organ >= 0.5).astype(np.uint8)
    labels[ventricle >= 0.5] = 2
    return Anatomy(slab, canvas.tissue, canvas.character, depth, labels)


def _shell(canvas: Canvas, shape: Head, below: Floats, rng: np.random.Generator) -> None:
    """Skin, fat of the scalp, the two tables of the skull with marrow between them, and fluid around the brain."""
    inner = -3.0 - 0.8 * canvas.slab.field(rng, 60.0, 25.0, 25.0)
    outer = inner - shape.skull
    surface = outer - shape.scalp
    canvas.fill(below > surface - 2.0, BrainTissue.SKIN)
    canvas.fill(below > surface, BrainTissue.FAT)
    canvas.fill(below > outer, BrainTissue.BONE)
    canvas.fill((below > outer + 1.8) & (below < inner - 1.6), BrainTissue.MARROW, rng.normal())
    canvas.fill(below > inner, BrainTissue.CSF)


def _cortex(canvas: Canvas, below: Floats, rng: np.random.Generator) -> None:
    """White matter, and a folded ribbon of grey matter with sulci, also along the fissure between the hemispheres."""
    slab = canvas.slab
    folds = np.abs(slab.field(rng, 16.0, 9.0, 9.0))
    # In front and behind, the fissure is as good a surface as the outer one.
    beside = beside_fissure(slab)
    under = np.minimum(below, beside)
    reach = np.clip((15.0 - under) / 10.0, 0.0, 1.0)
    canvas.fill(below > 0.0, BrainTissue.WHITE)
    canvas.fill((below > 0.0) & ((under < 3.2) | (folds < 0.50 * reach)), BrainTissue.GREY)
    canvas.fill((below > 0.0) & ((beside < 0.0) | ((folds < 0.11 * reach) & (under < 11.0))), BrainTissue.CSF)


def _spaces(canvas: Canvas, below: Floats, rng: np.random.Generator) -> None:
    """Perivascular spaces, 1.4 to 3.4 mm wide, in the white matter: as dark as fluid, and no lesions."""
    spaces = Canvas(canvas.slab)
    for _ in range(60):
        centre = (rng.uniform(-18.0, 18.0), rng.uniform(40.0, 180.0), rng.uniform(50.0, 170.0))
        girth = rng.uniform(0.7, 1.7)
        spaces.ellipsoid(centre, (rng.uniform(1.0, 4.0), girth, girth), 1)
    inside = (spaces.tissue == 1) & (canvas.tissue == BrainTissue.WHITE) & (below > 12.0)
    canvas.fill(inside, BrainTissue.CSF)


def _deep_grey(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thalami, lentiform nuclei and heads of the caudate nuclei."""
    for hand in (-1.0, 1.0):
        for side, down, across, radii, lean in (
            (-8.0, 10.0, 12.0, (13.0, 14.0, 7.5), -0.4),
            (-11.0, -6.0, 26.0, (12.0, 15.0, 5.0), -0.3),
            (-3.0, -24.0, 15.0, (11.0, 9.0, 4.5), 0.3),
        ):
            place = (side, _MIDDLE + down + rng.normal(0.0, 1.0), _MIDDLE + hand * (across + rng.normal(0.0, 1.0)))
            canvas.ellipsoid(place, radii, BrainTissue.DEEP_GREY, angle=hand * lean, character=rng.normal())
