"""First-order radiomic features: of an image's values, whatever their position.

Definitions: pyradiomics' documentation, class ``firstorder``. Of values x and of the shares p of their bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHIFT = 300.0
"""Added to values before they are squared, so that hardly any is negative."""

DIGITS = 4
"""Decimal places of features in the unit of the values, whose standard deviation is about 100. The median of a
high-pass sub-band is zero on images with a flat background, but for 1e-10 or so; a distance in units of such a spread
would depend on nothing else."""


def histogram_features(values: Floats, shares: Floats, area: float) -> dict[str, float]:
    """The 18 features.

    Args:
        values: of all pixels.
        shares: of the pixels in each bin that occurs.
        area: of a pixel, in pixels of the image before it was sampled.
    """
    low, tenth, quarter, median, three, ninetieth, high = np.percentile(values, (0, 10, 25, 50, 75, 90, 100))
    mean = values.mean()
    away = values - mean
    squared = np.square(away)
    variance = squared.mean()
    inner = values[(values >= tenth) & (values <= ninetieth)]
    energy = np.square(values + SHIFT).sum()
    scale = variance if variance > 0 else 1.0
    in_units = {
        "Minimum": low,
        "10Percentile": tenth,
        "90Percentile": ninetieth,
        "Maximum": high,
        "Mean": mean,
        "Median": median,
        "InterquartileRange": three - quarter,
        "Range": high - low,
        "MeanAbsoluteDeviation": np.abs(away).mean(),
        "RobustMeanAbsoluteDeviation": np.abs(inner - inner.mean()).mean(),
        "RootMeanSquared": np.sqrt(energy / values.size),
    }
    return {name: round(float(value), DIGITS) for name, value in in_units.items()} | {
        "Energy": energy,
        "TotalEnergy": energy * area,
        "Entropy": -(shares * np.log2(shares)).sum(),
        "Skewness": (squared * away).mean() / scale**1.5,
        "Kurtosis": np.square(squared).mean() / scale**2,
        "Variance": variance,
        "Uniformity": np.square(shares).sum(),
    }
