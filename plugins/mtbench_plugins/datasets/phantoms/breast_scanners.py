"""How the breast phantom looks on two vendors' fat-suppressed T1-weighted MR, before contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtbench_plugins.datasets.phantoms.breast import FIELD_OF_VIEW, BreastTissue
from mtbench_plugins.datasets.phantoms.space import Anatomy, Floats

# Signal of each tissue, and how the character of an instance moves it, before the vendor's own changes.
_SIGNAL: dict[BreastTissue, tuple[float, float]] = {
    BreastTissue.AIR: (0.0, 0.0),
    BreastTissue.SKIN: (0.66, 0.0),
    BreastTissue.FAT: (0.0, 0.0),
    BreastTissue.GLAND: (0.52, 0.05),
    BreastTissue.STRAND: (0.46, 0.0),
    BreastTissue.MUSCLE: (0.46, 0.0),
    BreastTissue.RIB: (0.30, 0.04),
    BreastTissue.RIB_CORTEX: (0.08, 0.0),
    BreastTissue.LUNG: (0.06, 0.0),
    BreastTissue.HEART: (0.50, 0.05),
    BreastTissue.VESSEL: (0.78, 0.0),
}


@dataclass(frozen=True)
class Vendor:
    """What distinguishes one vendor's images; from each range one value is drawn per examination.

    Attributes:
        gain: the share of the scale that the brightest tissues reach.
        fat: signal left of suppressed fat.
        failure: how much fat lights up where suppression fails.
        gland: factor on glandular signal.
        near: how much brighter it is at the coil, under the skin, than deep.
        tilt: brightness change from top to bottom.
        noise: standard deviation in each channel.
        resolution: mm, standard deviation of the point spread.
        sharpening: share of the unsharp mask that is added.
    """

    gain: tuple[float, float]
    fat: tuple[float, float]
    failure: float
    gland: float
    near: float
    tilt: float
    noise: tuple[float, float]
    resolution: tuple[float, float]
    sharpening: float


SIEMENS = Vendor((0.86, 0.98), (0.25, 0.30), 0.04, 1.0, 0.65, 0.3, (0.015, 0.03), (0.8, 1.2), 0.5)
GE = Vendor((0.68, 0.82), (0.11, 0.15), 0.10, 0.92, 0.1, -0.15, (0.03, 0.045), (1.6, 2.2), 0.0)


def scan(anatomy: Anatomy, vendor: Vendor, rng: np.random.Generator) -> NDArray[np.float32]:
    """The images of one examination; slices x size x size, [0, 1]."""
    slab = anatomy.slab
    table = np.zeros((2, len(BreastTissue)), np.float32)
    for tissue, row in _SIGNAL.items():
        table[:, tissue] = row
    table[0, BreastTissue.FAT] = rng.uniform(*vendor.fat)
    table[0, (BreastTissue.GLAND, BreastTissue.STRAND)] *= vendor.gland
    signal: Floats = table[0][anatomy.tissue] + table[1][anatomy.tissue] * anatomy.character
    failing = np.clip(slab.field(rng, 60.0, 45.0, 45.0) - 0.6, 0.0, None)
    signal += (anatomy.tissue == BreastTissue.FAT) * vendor.failure * failing
    coil = 1.0 + vendor.near * np.exp(-anatomy.depth / 25.0) + vendor.tilt * (0.5 - slab.down / FIELD_OF_VIEW)
    coil = coil * (1.0 + 0.08 * slab.field(rng, 300.0, 110.0, 110.0))
    signal = signal * coil * (1.0 + 0.04 * slab.field(rng, 6.0, 5.0, 5.0))
    blurred = slab.blur(signal, rng.uniform(*vendor.resolution))
    image = slab.pixels(blurred)
    if vendor.sharpening:
        image = image + vendor.sharpening * (image - slab.pixels(slab.blur(blurred, 4.0)))
    noise = rng.uniform(*vendor.noise)
    image = np.hypot(image + rng.normal(0.0, noise, image.shape), rng.normal(0.0, noise, image.shape))
    image = image / np.percentile(image, 99.5) * rng.uniform(*vendor.gain)
    return np.asarray(np.clip(image, 0.0, 1.0), dtype=np.float32)


def siemens(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """The source vendor: sharp, bright near the coil, fat darkened moderately."""
    return scan(anatomy, SIEMENS, rng)


def ge(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """The target vendor: softer, noisier, darker, with uneven fat suppression."""
    return scan(anatomy, GE, rng)
