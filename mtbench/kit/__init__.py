"""Kits, with which another laboratory adds comparable rows without the private images of the target domain."""

from __future__ import annotations

from mtbench.kit.export import LEVELS, Level, export
from mtbench.kit.score import score

__all__ = ["LEVELS", "Level", "export", "score"]
