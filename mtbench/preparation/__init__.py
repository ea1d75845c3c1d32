"""Preparing data sets: cases in parallel (for plugins), and the functions behind ``mtbench data``."""

from __future__ import annotations

from mtbench.preparation.cases import prepare_cases

__all__ = ["prepare_cases"]
