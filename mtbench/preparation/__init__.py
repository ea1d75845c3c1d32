"""Preparing data sets: the cases of one in parallel (for plugins), and what ``mtbench data`` does."""

from __future__ import annotations

from mtbench.preparation.cases import prepare_cases

__all__ = ["prepare_cases"]
