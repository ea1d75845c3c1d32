"""Anatomy of the breast phantom: an axial slab through both breasts, front up, right breast on the left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mtbench.compute.seeds import generator
from mtbench_plugins.datasets.phantoms.space import Anatomy, Bools, Canvas, Floats, Slab

FIELD_OF_VIEW = 300.0
"""mm per side."""
DEPTH = 60.0
"""mm through all slices, the nipples about the middle."""
_MIDDLE = FIELD_OF_VIEW / 2


class BreastTissue(IntEnum):
    """The tissues of a breast phantom."""

    AIR = 0
    SKIN = 1
    FAT = 2
    GLAND = 3
    STRAND = 4
    MUSCLE = 5
    RIB = 6
    RIB_CORTEX = 7
    LUNG = 8
    HEART = 9
    VESSEL = 10


@dataclass(frozen=True)
class _Breast:
    """One breast, mm: its centre, its extent and its density."""

    across: float
    side: float
    half_width: float
    projection: float
    half_height: float
    density: float
    lean: float
    shape: float


def breast_anatomy(size: int, slices: int, *names: object) -> Anatomy:
    """The anatomy of the patient that ``names`` (seed, domain, number) name; label 1 is breast, 2 its FGT."""
    rng = generator("phantom-breast", *names, "anatomy")
    slab = Slab(size, slices, FIELD_OF_VIEW, DEPTH)
    canvas = Canvas(slab)
    breasts = _breasts(rng)
    wall = _chest_wall(slab, rng)
    surface, bulges = _surface(slab, wall, breasts, rng)
    body: Bools = slab.down > surface
    depth = slab.depth_below(body)
    canvas.fill(body, BreastTissue.FAT)
    _thorax(canvas, wall, rng)
    skin = body & (depth < rng.uniform(2.2, 3.4))
    canvas.fill(skin, BreastTissue.SKIN)

    organ = np.zeros(slab.shape, dtype=bool)
    before_wall = wall - slab.down
    for breast, bulge in zip(breasts, bulges, strict=True):
        within = body & (before_wall > 0.0) & (bulge > 8.0)
        organ |= within
        _gland(canvas, breast, within & ~skin, depth, before_wall, bulge, rng)
    # Ligaments are as bright as glands, but they are not counted among them.
    gland = (canvas.tissue == BreastTissue.GLAND) & organ
    share, dense = slab.pixels(organ.astype(np.float32)), slab.pixels(gland.astype(np.float32))
    labels = (share >= 0.5).astype(np.uint8)
    labels[(dense >= 0.5) & (labels == 1)] = 2
    return Anatomy(slab, canvas.tissue, canvas.character, depth, labels)


def _breasts(rng: np.random.Generator) -> list[_Breast]:
    """The right and the left breast of one woman: alike, not equal."""
    half_width, projection = rng.uniform(54.0, 66.0), rng.uniform(65.0, 120.0)
    half_height, shape = rng.uniform(62.0, 85.0), rng.uniform(1.9, 2.9)
    density = float(np.clip(rng.normal(0.0, 0.45), -0.6, 0.9))
    apart = half_width + rng.uniform(8.0, 16.0)
    return [
        _Breast(
            across=_MIDDLE + hand * apart + rng.normal(0.0, 3.0),
            side=rng.normal(0.0, 6.0),
            half_width=half_width * rng.normal(1.0, 0.03),
            projection=projection * rng.normal(1.0, 0.05),
            half_height=half_height,
            density=density + 0.15 * rng.normal(),
            lean=hand * rng.uniform(0.0, 0.25),
            shape=shape,
        )
        for hand in (-1.0, 1.0)
    ]


def _chest_wall(slab: Slab, rng: np.random.Generator) -> Floats:
    """mm from the top to the chest muscles, slices x 1 x n: an arch with a sternal hollow."""
    level = rng.uniform(160.0, 184.0)
    arch = rng.uniform(50.0, 75.0) * np.abs((slab.across - _MIDDLE) / 150.0) ** 2.2
    hollow = rng.uniform(3.0, 9.0) * np.exp(-0.5 * ((slab.across - _MIDDLE) / 14.0) ** 2)
    slope = rng.normal(0.0, 0.12) * slab.side
    # Taken at one height of a field, so that the wall is a smooth curve without a texture.
    waves = slab.field(rng, 60.0, 400.0, 45.0)[:, :1, :]
    return np.asarray(level + arch + hollow + slope + 2.5 * waves, dtype=np.float32)


def _surface(slab: Slab, wall: Floats, breasts: list[_Breast], rng: np.random.Generator) -> tuple[Floats, list[Floats]]:
    """The skin, and how far each breast lifts it off the chest; mm, slices x 1 x n."""
    rest = rng.uniform(9.0, 18.0)
    waves = slab.field(rng, 50.0, 400.0, 40.0)[:, :1, :]
    bulges = []
    for breast in breasts:
        height = np.clip(1.0 - ((slab.side - breast.side) / breast.half_height) ** 2, 0.0, None) ** 0.5
        # A hanging breast leans outwards and is widest near the chest.
        aside = (slab.across - breast.across) / (breast.half_width * height**0.5)
        skew = 1.0 + breast.lean * aside
        profile = np.clip(1.0 - np.abs(aside) ** breast.shape, 0.0, None) ** 0.62
        nipple = 5.0 * np.exp(
            -0.5 * (((slab.across - breast.across) / 5.0) ** 2 + ((slab.side - breast.side) / 7.0) ** 2)
        )
        bulges.append(np.asarray(breast.projection * height * profile * skew + nipple, dtype=np.float32))
    lift = np.maximum(bulges[0], bulges[1])
    surface = wall - rest - lift * (1.0 + 0.03 * waves) + 1.2 * waves
    return np.asarray(surface, dtype=np.float32), bulges


def _thorax(canvas: Canvas, wall: Floats, rng: np.random.Generator) -> None:
    """Pectoral muscles, ribs between muscles, lungs and the heart behind them."""
    slab = canvas.slab
    behind = slab.down - wall
    muscle = rng.uniform(8.0, 13.0)
    thick = muscle + 4.0 * np.clip(np.abs(slab.across - _MIDDLE) / 60.0 - 0.3, 0.0, 1.0)
    canvas.fill(behind > 0.0, BreastTissue.MUSCLE)
    streaks = slab.field(rng, 20.0, 3.5, 30.0) > 1.4
    canvas.fill((behind > 2.0) & (behind < thick) & streaks, BreastTissue.FAT)
    canvas.fill((behind > thick) & (behind < thick + 2.0), BreastTissue.FAT)
    # Ribs run obliquely through the slab: along the wall they alternate with muscle, and shift with the slice.
    phase = np.sin(2 * np.pi * (np.abs(slab.across - _MIDDLE) / rng.uniform(48.0, 60.0) + slab.side / 45.0))
    band = (behind - thick - 7.0) / 5.5
    rib = (phase - 0.15) ** 2 * np.sign(phase - 0.15) - band**2
    sternum = 1.0 - ((slab.across - _MIDDLE) / 17.0) ** 2 - ((behind - 9.0) / 6.0) ** 2
    for solid in (rib, sternum):
        canvas.fill(solid > 0.0, BreastTissue.RIB_CORTEX)
        canvas.fill(solid > 0.3, BreastTissue.RIB, rng.normal())
    inner = thick + 16.0
    canvas.fill(behind > inner, BreastTissue.LUNG)
    width = 12.0 + 0.15 * behind + 6.0 * slab.field(rng, 60.0, 30.0, 400.0)
    mediastinum = np.abs(slab.across - _MIDDLE) < width
    canvas.fill((behind > inner) & mediastinum, BreastTissue.FAT)
    centre = (slab.across - _MIDDLE - rng.uniform(12.0, 28.0)) / rng.uniform(46.0, 60.0)
    deep = (behind - inner - rng.uniform(48.0, 62.0)) / rng.uniform(44.0, 56.0)
    heart = 1.0 - centre**2 - deep**2 - 0.1 * slab.field(rng, 50.0, 25.0, 25.0)
    canvas.fill((behind > inner) & (heart > 0.0), BreastTissue.HEART, rng.normal())


def _gland(
    canvas: Canvas,
    breast: _Breast,
    room: Bools,
    depth: Floats,
    before_wall: Floats,
    bulge: Floats,
    rng: np.random.Generator,
) -> None:
    """Fibroglandular tissue: a cone behind the nipple, ragged by density, with ligaments through the fat."""
    slab = canvas.slab
    forward = before_wall / np.maximum(bulge, 1.0)
    aside = (slab.across - breast.across) / breast.half_width
    height = (slab.side - breast.side) / breast.half_height
    spread = 0.62 - 0.3 * np.clip(forward - 0.5, 0.0, 0.5)
    cone = 1.0 - (aside / spread) ** 2 - ((forward - 0.62) / 0.42) ** 2 - (height / 0.8) ** 2
    coarse, fine = slab.field(rng, 22.0, 17.0, 15.0), slab.field(rng, 9.0, 7.5, 6.0)
    gland = cone + 0.55 * coarse + 0.45 * fine + breast.density - 0.25 > 0.0
    core = room & (depth > 5.5) & (before_wall > 5.0) & (cone > -1.0)
    canvas.fill(core & gland, BreastTissue.GLAND)
    canvas.character[core & gland] = (0.6 * fine + 0.5 * coarse)[core & gland]
    # Cooper's ligaments are sheets: the zero surface of a smooth field.
    sheets = np.abs(slab.field(rng, 40.0, 22.0, 11.0)) < 0.06
    canvas.fill(room & sheets & (before_wall > 5.0) & (cone > -2.0) & ~gland, BreastTissue.STRAND)
    # Ducts gather towards the nipple.
    apart = ((slab.across - breast.across) / 7.0) ** 2 + ((slab.side - breast.side) / 9.0) ** 2
    canvas.fill(room & (apart + 0.4 * coarse < (forward - 0.55) / 0.45), BreastTissue.GLAND)
    vessels = room & (np.abs(coarse - 0.9) < 0.1) & (np.abs(fine) < 0.16) & ~gland & (before_wall > 5.0)
    canvas.fill(vessels, BreastTissue.VESSEL)
