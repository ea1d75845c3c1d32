"""Seeds derived from names, so that a random number never depends on earlier draws."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def derive(*names: Any) -> int:
    """A 63-bit seed from the sha256 of ``names``; the same on every machine and in every process."""
    digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: Any) -> np.random.Generator:
    """A NumPy generator seeded by :func:`derive`."""
    return np.random.default_rng(derive(*names))
