"""Anatomy of the lumbar phantom: a sagittal slab through the lower back, front to the left, head up."""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise

import numpy as np

from mtbench.compute.seeds import generator
from mtbench_plugins.datasets.phantoms.lumbar_spine import Level, SpinalColumn, spine
from mtbench_plugins.datasets.phantoms.space import Anatomy, Canvas, Floats, Slab

FIELD_OF_VIEW = 200.0
"""mm per side."""
DEPTH = 36.0
"""mm through all slices: from facet joints to facet joints."""


class LumbarTissue(IntEnum):
    """The tissues of a lumbar phantom."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    FASCIA = 4
    DEEP_FAT = 5
    BOWEL_WALL = 6
    BOWEL = 7
    GAS = 8
    ORGAN = 9
    VESSEL = 10
    CALCIFICATION = 11
    LIGAMENT = 12
    CSF = 13
    NERVE = 14
    ANNULUS = 15
    NUCLEUS = 16
    CORTEX = 17
    MARROW = 18


BONE = (LumbarTissue.CORTEX, LumbarTissue.MARROW)


def lumbar_anatomy(size: int, slices: int, *names: object) -> Anatomy:
    """The anatomy of the patient that ``names`` (seed, domain, number) name; label 1 is bone."""
    rng = generator("phantom-lumbar", *names, "anatomy")
    slab = Slab(size, slices, FIELD_OF_VIEW, DEPTH)
    canvas = Canvas(slab)
    levels = spine(rng)
    column = SpinalColumn(slab, levels)
    depth = _soft_tissue(canvas, column, rng)
    _organs(canvas, column, rng)
    _canal(canvas, column, rng)
    _discs(canvas, column, levels, rng)
    for level in levels:
        _vertebra(canvas, level, rng)
    bone = np.isin(canvas.tissue, BONE).astype(np.float32)
    labels = (slab.pixels(bone) >= 0.5).astype(np.uint8)
    return Anatomy(slab, canvas.tissue, canvas.character, depth, labels)


def _soft_tissue(canvas: Canvas, column: SpinalColumn, rng: np.random.Generator) -> Floats:
    """Skin, fat, muscles of the back and of the abdominal wall; returns mm below the skin."""
    slab = canvas.slab
    fat = rng.uniform(5.0, 24.0)
    lumbar_hollow = rng.uniform(0.3, 0.8)
    upper = float(column.middle[0, 0, 0])
    # The back follows the column, but less than fully: fat fills the hollow and the muscles thin out below.
    muscle = column.middle * lumbar_hollow + upper * (1 - lumbar_hollow) + rng.uniform(52.0, 62.0)
    muscle = muscle + 2.5 * slab.field(rng, 30.0, 30.0, 400.0) - 0.1 * np.maximum(slab.down - 120.0, 0.0)
    fat_below = fat * (1.0 + 0.5 * slab.down / FIELD_OF_VIEW) + 1.5 * slab.field(rng, 40.0, 40.0, 400.0)
    # For any curve, spinous processes and the sacrum's crest stay below the skin.
    tips = column.middle + column.half_depth + np.interp(column.half_depth, (10.0, 16.0), (24.0, 47.0))
    muscle = np.maximum(muscle, tips)
    back = muscle + np.maximum(fat_below, 3.0)
    paunch = 12.0 * (slab.down / FIELD_OF_VIEW - 0.5) ** 2
    front = rng.uniform(-45.0, 14.0) + 6.0 * slab.field(rng, 200.0, 70.0, 400.0) + paunch
    wall = front + rng.uniform(6.0, 16.0)
    depth: Floats = np.minimum(back - slab.across, slab.across - front).astype(np.float32)

    canvas.fill(depth > 0.0, LumbarTissue.FAT)
    canvas.fill((slab.across < muscle) & (slab.across > wall), LumbarTissue.FASCIA)
    canvas.fill((slab.across < muscle - 1.8) & (slab.across > wall + 1.2), LumbarTissue.MUSCLE)
    belly = (slab.across > wall + 9.0) & (column.behind < column.half_depth)
    canvas.fill(belly, LumbarTissue.DEEP_FAT)

    # Fatty streaks run along the muscles of the back; they are denser near the bones.
    streaks = slab.field(rng, 12.0, 28.0, 4.0)
    fatty = rng.uniform(0.9, 2.0) + np.clip((column.behind - 45.0) / 30.0, -0.6, 0.6)
    back_muscle = (column.behind > column.half_depth) & (canvas.tissue == LumbarTissue.MUSCLE)
    canvas.fill(back_muscle & (streaks > fatty), LumbarTissue.DEEP_FAT)
    # Between the spinous processes there is ligament and fat, no muscle.
    midline = back_muscle & (np.abs(column.side) < 4.0 + slab.field(rng, 40.0, 12.0, 12.0))
    canvas.fill(midline, LumbarTissue.LIGAMENT)
    canvas.fill(midline & (slab.field(rng, 8.0, 7.0, 7.0) > -0.2), LumbarTissue.DEEP_FAT)
    canvas.fill((depth > 0.0) & (depth < 2.2), LumbarTissue.SKIN)
    return np.maximum(depth, 0.0)


def _organs(canvas: Canvas, column: SpinalColumn, rng: np.random.Generator) -> None:
    """Bowel, an upper organ, and the great vessels before the spine."""
    slab = canvas.slab
    belly = (canvas.tissue == LumbarTissue.DEEP_FAT) & (column.behind < 0.0)
    before = Canvas(slab)
    if rng.random() < 0.8:
        # Liver or stomach, coming down from above.
        centre = (rng.uniform(-25.0, 25.0), rng.uniform(-25.0, 25.0), rng.uniform(5.0, 45.0))
        radii = (40.0, rng.uniform(35.0, 65.0), rng.uniform(22.0, 38.0))
        before.ellipsoid(centre, radii, LumbarTissue.ORGAN, angle=rng.uniform(-0.4, 0.4), character=rng.normal())
    for _ in range(26):
        centre = (rng.uniform(-24.0, 24.0), rng.uniform(15.0, 205.0), rng.uniform(-8.0, 66.0))
        girth = rng.uniform(7.0, 15.0)
        radii = (rng.uniform(8.0, 22.0), girth * rng.uniform(1.0, 1.9), girth)
        angle, character, filled = rng.uniform(-1.5, 1.5), rng.normal(), rng.random()
        inside = LumbarTissue.GAS if filled < 0.15 else LumbarTissue.BOWEL
        before.ellipsoid(
            centre, radii, inside, angle=angle, character=character, power=2.4, rim=(LumbarTissue.BOWEL_WALL, 2.2)
        )
    painted = belly & (before.tissue > 0)
    canvas.tissue[painted] = before.tissue[painted]
    canvas.character[painted] = before.character[painted]

    forward = -(column.behind + column.half_depth)
    fork = rng.uniform(125.0, 165.0)
    contrast = rng.normal()
    for side, radius, gap in ((rng.uniform(4.0, 11.0), rng.uniform(7.5, 10.5), 5.0), (-13.0, 9.0, 4.0)):
        apart = (column.side - side) / radius
        across = (forward - gap - radius * 0.8) / (radius * 0.8)
        tube = (apart**2 + across**2 < 1.0) & (slab.down < fork + 1.5 * column.side)
        canvas.fill(tube, LumbarTissue.VESSEL, contrast)
        if side > 0:
            rim = tube & (apart**2 + across**2 > 0.55)
            plaque = rng.uniform(0.8, 3.0)
            canvas.fill(rim & (slab.field(rng, 6.0, 6.0, 6.0) > plaque), LumbarTissue.CALCIFICATION, rng.normal())


def _canal(canvas: Canvas, column: SpinalColumn, rng: np.random.Generator) -> None:
    """Ligaments along the column, epidural fat, the dural sac, the conus and the cauda equina."""
    slab = canvas.slab
    behind = column.behind - column.half_depth
    canvas.fill(np.abs(column.behind) < column.half_depth + 2.0, LumbarTissue.LIGAMENT)
    width, girth = rng.uniform(10.5, 13.0), rng.uniform(6.5, 8.5)
    middle = girth + 1.5
    wide = (column.side / width) ** 2
    canvas.fill(wide + ((behind - middle - 2.5) / (girth + 4.0)) ** 2 < 1.0, LumbarTissue.DEEP_FAT)
    waves = 0.12 * slab.field(rng, 30.0, 16.0, 400.0)
    sac = wide + ((behind - middle) / girth) ** 2 < 0.85 + waves
    canvas.fill(sac, LumbarTissue.CSF, rng.normal())
    conus = rng.uniform(15.0, 70.0)
    taper = np.clip((conus + 25.0 - slab.down) / 25.0, 0.0, 1.0)
    canvas.fill((column.side / 5.5) ** 2 + ((behind - middle) / 3.6) ** 2 < taper, LumbarTissue.NERVE)
    roots = slab.field(rng, 4.0, 60.0, 2.2) > np.where(slab.down > conus, 0.8, 2.0) - 0.12 * (behind - middle)
    canvas.fill(sac & roots, LumbarTissue.NERVE)


def _discs(canvas: Canvas, column: SpinalColumn, levels: list[Level], rng: np.random.Generator) -> None:
    """Fibrous rings and their nuclei, each as hydrated (character) as its degeneration lets it."""
    health = rng.uniform(-1.2, 1.2)
    for level, lower in pairwise(levels):
        down, across = level.at(level.half_height + level.disc / 2, 0.0)
        lean = (level.lean + lower.lean) / 2
        hydration = float(np.clip(health + 0.9 * rng.normal() - 0.4 * (level.disc > 9.5), -2.0, 2.0))
        bulge = 1.0 + 0.06 * max(0.0, -hydration)
        centre = (level.side, down, across)
        # Reaching into both bodies, which are painted over it: no gap is left at their hollow ends.
        radii = (26.0, level.disc / 2 + 3.0, level.half_depth * bulge)
        canvas.ellipsoid(centre, radii, LumbarTissue.ANNULUS, angle=lean, power=4.0)
        if not lower.sacral or level.disc > 4.0:
            inner = (17.0, max(level.disc * 0.36, 1.2), level.half_depth * 0.66)
            canvas.ellipsoid(centre, inner, LumbarTissue.NUCLEUS, angle=lean, character=hydration, power=2.6)


def _vertebra(canvas: Canvas, level: Level, rng: np.random.Generator) -> None:
    """A body and, above the sacrum, its arch: pedicles, joints, laminae, spinous process."""
    shell = (LumbarTissue.CORTEX, 1.9)
    body = (level.side, level.down, level.across)
    canvas.ellipsoid(
        body,
        (27.0, level.half_height, level.half_depth),
        LumbarTissue.MARROW,
        angle=level.lean,
        character=level.marrow,
        power=6.0,
        waist=0.1,
        rim=shell,
    )
    thick = rng.uniform(0.85, 1.15)
    drop = rng.uniform(0.25, 0.5)
    back = level.half_depth
    parts: list[tuple[float, float, float, tuple[float, float, float], float]]
    if level.sacral:
        # The sacrum's crest closes the canal behind.
        parts = [(0.0, 0.0, back + 21.0, (15.0, level.half_height * 0.9, 4.0), 0.0)]
    else:
        parts = [(0.0, 8.0, back + 33.0, (4.2, 8.5 * thick, 15.5), drop)]
        for hand in (-1.0, 1.0):
            parts += [
                (hand * 13.5, -4.0, back + 5.0, (5.0, 6.0 * thick, 9.0), 0.0),
                (hand * 15.5, 3.0, back + 15.0, (6.5, 17.0 * thick, 5.5), 0.1),
                (hand * 7.0, 6.0, back + 20.0, (7.0, 9.0, 4.0 * thick), -0.1),
            ]
    for aside, along, behind, radii, turn in parts:
        centre = (level.side + aside, *level.at(along, behind))
        canvas.ellipsoid(
            centre,
            radii,
            LumbarTissue.MARROW,
            angle=level.lean + turn,
            character=level.marrow,
            power=2.6,
            rim=shell,
        )
