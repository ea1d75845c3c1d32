"""Lengths in headers, converted to millimetres from any unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MILLIMETRES = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1000.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
}


def in_millimetres(affine: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
    """The affine (4 x 4) of a header whose lengths are in ``unit``; an unknown unit counts as millimetres."""
    return np.diag([*[_MILLIMETRES.get(unit.strip().lower(), 1.0)] * 3, 1.0]) @ affine
