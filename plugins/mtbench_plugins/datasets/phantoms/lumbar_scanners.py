"""How the lumbar phantom looks in T2-weighted and T1-weighted MR and in CT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtbench_plugins.datasets.phantoms.lumbar import LumbarTissue
from mtbench_plugins.datasets.phantoms.space import Anatomy, Floats

WINDOW = (-250.0, 750.0)
"""HU stored as 0 and as white."""

# Of each tissue: T2 signal and how the instance's character moves it; HU and how the character moves them.
# Cortex, ligaments, flowing blood and gas are as dark as air in MR; muscle, bowel, discs and nerves share a
# range of HU, and contrast medium lifts vessels and bowel to the HU of bone.
_TABLE: dict[LumbarTissue, tuple[float, float, float, float]] = {
    LumbarTissue.AIR: (0.0, 0.0, -1000.0, 0.0),
    LumbarTissue.SKIN: (0.42, 0.0, 30.0, 0.0),
    LumbarTissue.FAT: (0.95, 0.0, -105.0, 0.0),
    LumbarTissue.MUSCLE: (0.20, 0.0, 55.0, 0.0),
    LumbarTissue.FASCIA: (0.10, 0.0, 45.0, 0.0),
    LumbarTissue.DEEP_FAT: (0.78, 0.0, -95.0, 0.0),
    LumbarTissue.BOWEL_WALL: (0.33, 0.0, 45.0, 0.0),
    LumbarTissue.BOWEL: (0.52, 0.16, 25.0, 10.0),
    LumbarTissue.GAS: (0.02, 0.0, -800.0, 50.0),
    LumbarTissue.ORGAN: (0.34, 0.08, 80.0, 20.0),
    LumbarTissue.VESSEL: (0.05, 0.02, 60.0, 0.0),
    LumbarTissue.CALCIFICATION: (0.04, 0.0, 550.0, 100.0),
    LumbarTissue.LIGAMENT: (0.07, 0.0, 75.0, 0.0),
    LumbarTissue.CSF: (0.92, 0.05, 15.0, 0.0),
    LumbarTissue.NERVE: (0.40, 0.0, 38.0, 0.0),
    LumbarTissue.ANNULUS: (0.12, 0.0, 95.0, 0.0),
    LumbarTissue.NUCLEUS: (0.42, 0.18, 80.0, 0.0),
    LumbarTissue.CORTEX: (0.06, 0.0, 620.0, 0.0),
    LumbarTissue.MARROW: (0.46, 0.07, 215.0, -35.0),
}

# T1 signal, and how the instance's character moves it: fat is bright, water is dark, and discs look like muscle.
_T1: dict[LumbarTissue, tuple[float, float]] = {
    LumbarTissue.AIR: (0.0, 0.0),
    LumbarTissue.SKIN: (0.40, 0.0),
    LumbarTissue.FAT: (0.97, 0.0),
    LumbarTissue.MUSCLE: (0.33, 0.0),
    LumbarTissue.FASCIA: (0.12, 0.0),
    LumbarTissue.DEEP_FAT: (0.90, 0.0),
    LumbarTissue.BOWEL_WALL: (0.30, 0.0),
    LumbarTissue.BOWEL: (0.26, 0.08),
    LumbarTissue.GAS: (0.02, 0.0),
    LumbarTissue.ORGAN: (0.42, 0.04),
    LumbarTissue.VESSEL: (0.06, 0.02),
    LumbarTissue.CALCIFICATION: (0.05, 0.0),
    LumbarTissue.LIGAMENT: (0.10, 0.0),
    LumbarTissue.CSF: (0.14, 0.01),
    LumbarTissue.NERVE: (0.30, 0.0),
    LumbarTissue.ANNULUS: (0.24, 0.0),
    LumbarTissue.NUCLEUS: (0.31, -0.02),
    LumbarTissue.CORTEX: (0.06, 0.0),
    LumbarTissue.MARROW: (0.62, 0.10),
}


def _values(anatomy: Anatomy, column: int) -> Floats:
    table = np.zeros((2, len(LumbarTissue)), np.float32)
    for tissue, row in _TABLE.items():
        table[:, tissue] = row[column], row[column + 1]
    return np.asarray(table[0][anatomy.tissue] + table[1][anatomy.tissue] * anatomy.character)


def mr(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """T2-weighted fast spin echo with a surface coil at the back; slices x size x size, [0, 1]."""
    return _spin_echo(anatomy, _values(anatomy, 0), rng)


def t1_and_t2(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """Both weightings of one examination; slices x 2 x size x size, [0, 1]. The T2 image is that of :func:`mr`."""
    t2 = mr(anatomy, rng)
    table = np.array([_T1[tissue] for tissue in LumbarTissue], np.float32)
    signal = table[anatomy.tissue, 0] + table[anatomy.tissue, 1] * anatomy.character
    return np.stack([_spin_echo(anatomy, np.asarray(signal, np.float32), rng), t2], axis=1)


def _spin_echo(anatomy: Anatomy, signal: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    slab = anatomy.slab
    signal *= 1.0 + 0.07 * slab.field(rng, 8.0, 5.0, 5.0) + 0.08 * slab.field(rng, 20.0, 18.0, 18.0)
    # The coil lies behind and its sensitivity falls off towards the belly.
    reach = rng.uniform(75.0, 130.0)
    coil = 0.25 + np.exp((slab.across - 180.0) / reach) * (1.0 + 0.15 * slab.field(rng, 300.0, 50.0, 90.0))
    signal = slab.blur(np.maximum(signal, 0.0) * coil, rng.uniform(0.9, 1.3))
    image = slab.pixels(signal)
    noise = rng.uniform(0.012, 0.028)
    image = np.hypot(image + rng.normal(0.0, noise, image.shape), rng.normal(0.0, noise, image.shape))
    # Scaled by volume percentile as MR is, then a display gamma that differs a little by examination.
    image = np.clip(image / np.percentile(image, 99.3), 0.0, 1.0)
    return np.asarray(0.97 * image ** rng.uniform(0.85, 1.1), dtype=np.float32)


def ct(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """CT through ``WINDOW``; slices x size x size, [0, 1]."""
    slab = anatomy.slab
    hounsfield = _values(anatomy, 2)
    # Contrast medium in the blood and in the bowel, in an amount drawn for each examination.
    if rng.random() < 0.6:
        hounsfield[anatomy.tissue == LumbarTissue.VESSEL] = rng.uniform(120.0, 260.0)
    if rng.random() < 0.35:
        filled = (anatomy.tissue == LumbarTissue.BOWEL) & (anatomy.character > 0.0)
        hounsfield[filled] = 180.0 + 90.0 * anatomy.character[filled]
    marrow = anatomy.tissue == LumbarTissue.MARROW
    hounsfield += marrow * 35.0 * slab.field(rng, 5.0, 3.0, 3.0)
    hounsfield += (anatomy.tissue != LumbarTissue.AIR) * 6.0 * slab.field(rng, 12.0, 12.0, 12.0)
    image = slab.pixels(slab.blur(hounsfield, rng.uniform(0.6, 0.9)))
    noise = rng.normal(0.0, 1.0, image.shape).astype(np.float32)
    # Reconstruction correlates the noise of neighbouring pixels.
    grain = noise + 0.5 * (np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2))
    image += rng.uniform(8.0, 20.0) * grain
    low, high = WINDOW
    return np.asarray(np.clip((image - low) / (high - low), 0.0, 1.0), dtype=np.float32)
