"""Metrics for two folders of images, without a suite: ``mtbench.score`` and ``mtbench score``."""

from mtbench.scoring.folders import score

__all__ = ["score"]
