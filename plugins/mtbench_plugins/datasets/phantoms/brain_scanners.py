"""How the lesion phantom looks in FLAIR and in T1-weighted MR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtbench_plugins.datasets.phantoms.brain import BrainTissue
from mtbench_plugins.datasets.phantoms.lesions import LesionedAnatomy
from mtbench_plugins.datasets.phantoms.space import Anatomy, Floats

# Of each tissue: FLAIR signal and how the instance's character moves it; T1 signal and how the character moves it.
# In T1, lesions are about as dark as grey matter and lie near it; in FLAIR they are bright and the haloes of the
# ventricles are brighter than other white matter, too.
_TABLE: dict[BrainTissue, tuple[float, float, float, float]] = {
    BrainTissue.AIR: (0.0, 0.0, 0.0, 0.0),
    BrainTissue.SKIN: (0.35, 0.0, 0.35, 0.0),
    BrainTissue.FAT: (0.78, 0.0, 0.97, 0.0),
    BrainTissue.BONE: (0.05, 0.0, 0.06, 0.0),
    BrainTissue.MARROW: (0.35, 0.05, 0.55, 0.08),
    BrainTissue.CSF: (0.07, 0.0, 0.14, 0.0),
    BrainTissue.GREY: (0.56, 0.0, 0.52, 0.0),
    BrainTissue.WHITE: (0.45, 0.0, 0.76, 0.0),
    BrainTissue.HALO: (0.60, 0.0, 0.73, 0.0),
    BrainTissue.DEEP_GREY: (0.52, 0.02, 0.60, 0.02),
    BrainTissue.VENTRICLE: (0.05, 0.0, 0.13, 0.0),
}
_LESION = (0.86, 0.06, 0.40, 0.05)


def flair(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """FLAIR, slices x size x size, [0, 1]: fluid is dark, lesions are bright."""
    return _scan(anatomy, 0, (0.9, 1.2), (0.015, 0.03), rng)


def t1(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """T1-weighted gradient echo, slices x size x size, [0, 1]: white matter is bright, lesions are dark."""
    return _scan(anatomy, 2, (0.5, 0.8), (0.012, 0.025), rng)


def _scan(
    anatomy: Anatomy,
    column: int,
    resolution: tuple[float, float],
    noise: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """One examination; ``resolution`` in mm and ``noise`` are ranges from which a value is drawn."""
    slab = anatomy.slab
    signal = _signal(anatomy, column)
    coil = 1.0 + 0.12 * slab.field(rng, 200.0, 90.0, 90.0)
    texture = 1.0 + 0.035 * slab.field(rng, 6.0, 5.0, 5.0)
    image = slab.pixels(slab.blur(np.maximum(signal, 0.0) * coil * texture, rng.uniform(*resolution)))
    sigma = rng.uniform(*noise)
    image = np.hypot(image + rng.normal(0.0, sigma, image.shape), rng.normal(0.0, sigma, image.shape))
    # Fixed to the tissues and not to a percentile: a lesion must change its own place only.
    return np.asarray(np.clip(0.88 * image * rng.uniform(0.95, 1.05), 0.0, 1.0), dtype=np.float32)


def _signal(anatomy: Anatomy, column: int) -> Floats:
    table = np.zeros((2, len(BrainTissue)), np.float32)
    for tissue, row in _TABLE.items():
        table[:, tissue] = row[column], row[column + 1]
    signal = table[0][anatomy.tissue] + table[1][anatomy.tissue] * anatomy.character
    if isinstance(anatomy, LesionedAnatomy):
        lesion = _LESION[column] + _LESION[column + 1] * anatomy.lesion_character
        signal += anatomy.share * (lesion - signal)
    return np.asarray(signal, np.float32)
