"""Image metrics of volumes as the SynthRAD2025 challenge computes them (SynthRAD2025/evaluation, image metrics).

Reimplemented from that code's behaviour: CT in HU with a dilated body mask; values outside the mask set to -1024; data
range -1024 to 3071, as in the last published code (the challenge's description has Q = 4000 HU).

MS-SSIM differs from Wang et al. 2003 in four ways that change its value: a uniform window of 7 x 7 x 7 with
sample variances; luminance at each of the five scales; structure and contrast clipped at 0 pixel by pixel,
each raised to the scale's weight before the mean over the mask; volumes padded to 97 voxels by their border.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtbench_plugins.metrics import similarity

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LOW, HIGH = -1024.0, 3071.0
WINDOW = 7
SMALLEST = 97


def mae(image: Floats, truth: Floats, body: Mask) -> float:
    """Mean absolute error over the mask, values not clipped."""
    return float(np.abs(image - truth)[body].mean())


def psnr(image: Floats, truth: Floats, body: Mask) -> float:
    """Peak signal-to-noise ratio over the mask, at most 100 dB."""
    return similarity.psnr(np.clip(image, LOW, HIGH), np.clip(truth, LOW, HIGH), HIGH - LOW, body)


def ms_ssim(image: Floats, truth: Floats, body: Mask, high: float = HIGH) -> float:
    """Masked multi-scale structural similarity of two volumes.

    Args:
        image, truth: HU. The finest scale is computed in their type: single precision is the challenge's for volumes of
            floating-point numbers.
        body: the mask.
        high: largest value of the data range.
    """
    first, second = (np.where(body, np.clip(v, LOW, high), LOW) - LOW for v in (image, truth))
    missing = [max(SMALLEST - n, 0) for n in body.shape]
    around = [(n // 2, n - n // 2) for n in missing]
    first, second = np.pad(first, around, mode="edge"), np.pad(second, around, mode="edge")
    mask = np.pad(body, around, mode="edge")
    inside = (slice(WINDOW // 2, -(WINDOW // 2)),) * 3
    value = 1.0
    for weight in similarity.WEIGHTS:
        values = similarity_map(first, second, weight, high)[inside][mask[inside]]
        value *= min(max(float(values.mean(dtype=np.float64)), 0.0), 1.0) if values.size else float("nan")
        first, second = first.astype(np.float64), second.astype(np.float64)
        first, second = smoothed(first)[::2, ::2, ::2], smoothed(second)[::2, ::2, ::2]
        mask = mask[::2, ::2, ::2]
    return value


def similarity_map(first: Floats, second: Floats, weight: float, high: float = HIGH) -> Floats:
    """Luminance, contrast and structure of each voxel, each to the power of the weight."""
    from scipy.ndimage import uniform_filter

    def local(values: Floats) -> Floats:
        means: Floats = uniform_filter(values, WINDOW)
        return means

    c1, c2 = (0.01 * (high - LOW)) ** 2, (0.03 * (high - LOW)) ** 2
    sample = WINDOW**3 / (WINDOW**3 - 1)
    mean_1, mean_2 = local(first), local(second)
    variance_1 = sample * (local(first * first) - mean_1**2)
    variance_2 = sample * (local(second * second) - mean_2**2)
    covariance = sample * (local(first * second) - mean_1 * mean_2)
    deviations = np.sqrt(np.maximum(variance_1, 0)) * np.sqrt(np.maximum(variance_2, 0))
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1)
    contrast = (2 * deviations + c2) / (variance_1 + variance_2 + c2)
    structure = (covariance + c2 / 2) / (deviations + c2 / 2)
    product = np.maximum(luminance, 0) * np.maximum(contrast, 0) * np.maximum(structure, 0)
    powered: Floats = product**weight
    return powered


def smoothed(volume: Floats) -> Floats:
    """Means of each voxel with its predecessor along each axis, zeros before the first."""
    for axis in range(volume.ndim):
        forward = np.moveaxis(volume, axis, 0)
        before = np.concatenate([np.zeros_like(forward[:1]), forward[:-1]])
        volume = np.moveaxis((forward + before) / 2, 0, axis)
    return volume
