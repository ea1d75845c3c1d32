"""Similarity of two images: PSNR, SSIM and MS-SSIM in any number of dimensions, inside a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales (Wang et al. 2003). They add up to 1.0001, and the authors' code uses them as printed."""

CAP = 100.0
"""dB; the value for identical images, whose ratio is infinite."""

SIGMA, RADIUS = 1.5, 5
"""Of the Gaussian window, 11 pixels wide (Wang et al. 2004)."""


def psnr(first: Floats, second: Floats, data_range: float, mask: Mask) -> float:
    """Peak signal-to-noise ratio in dB over the pixels of the mask, at most ``CAP``."""
    return decibels(float(np.square(first - second)[mask].mean()), data_range)


def decibels(square: float, data_range: float) -> float:
    """:func:`psnr` of a mean squared error."""
    error = square / data_range**2
    return min(CAP, -10 * float(np.log10(error))) if error > 0 else CAP


def gaussian(image: Floats) -> Floats:
    """Weighted local means; values within ``RADIUS`` of the border are invalid."""
    from scipy.ndimage import correlate1d

    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    taps /= taps.sum()
    for axis in range(image.ndim):
        image = correlate1d(image, taps, axis=axis, mode="reflect")
    return image


def comparison(first: Floats, second: Floats, data_range: float) -> tuple[Floats, Floats]:
    """Luminance, and contrast times structure, at each pixel (Wang et al. 2004, eqs. 6 and 13).

    K1 = 0.01 and K2 = 0.03, as published; variances are those of the window's weights.
    """
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_1, mean_2 = gaussian(first), gaussian(second)
    square_1, square_2, product = mean_1**2, mean_2**2, mean_1 * mean_2
    variances = gaussian(first * first) - square_1 + gaussian(second * second) - square_2
    covariance = gaussian(first * second) - product
    luminance = (2 * product + c1) / (square_1 + square_2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def ssim(first: Floats, second: Floats, data_range: float, mask: Mask) -> float:
    """Mean over the pixels of the mask whose window lies in the image; NaN where there are none."""
    luminance, structure = comparison(first, second, data_range)
    return _mean(luminance * structure, mask)


def ms_ssim(first: Floats, second: Floats, data_range: float, mask: Mask, scales: int = 5) -> float:
    """Contrast and structure at every scale, luminance at the coarsest (Wang et al. 2003, eq. 7).

    Between scales, means of 2 x 2 pixels; of the mask, every second pixel. A negative mean counts as 0. Five
    scales have the published weights, as in the authors' ``msssim.m``; fewer have the first of them, scaled to a
    sum of 1. NaN if a scale has no valid pixel.
    """
    weights = np.array(WEIGHTS[:scales])
    if scales < len(WEIGHTS):
        weights /= weights.sum()
    value = 1.0
    for scale, weight in enumerate(weights):
        luminance, structure = comparison(first, second, data_range)
        last = scale == scales - 1
        mean = _mean(luminance * structure if last else structure, mask)
        value *= max(mean, 0.0) ** weight if not np.isnan(mean) else np.nan
        first, second = halved(first), halved(second)
        mask = mask[(slice(None, None, 2),) * mask.ndim]
    return float(value)


def halved(image: Floats) -> Floats:
    """Means of neighbouring pairs along each axis; the last row or column of an odd side is its own neighbour."""
    for axis, side in enumerate(image.shape):
        lines = np.moveaxis(image, axis, 0)
        first = lines[::2]
        second = lines[1::2] if side % 2 == 0 else np.concatenate([lines[1::2], lines[-1:]])
        image = np.moveaxis((first + second) / 2, 0, axis)
    return image


def _mean(values: Floats, mask: Mask) -> float:
    # Without the border, where windows extend beyond the image.
    inside = (slice(RADIUS, -RADIUS),) * values.ndim
    pixels = values[inside][mask[inside]]
    return float(pixels.mean()) if pixels.size else float("nan")
