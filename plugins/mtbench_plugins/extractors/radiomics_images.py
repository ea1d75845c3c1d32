"""The images from which radiomic features are computed, and their grey levels.

As pyradiomics prepares 2-D images under the settings of frd-score's version 1: brought to mean 0 and standard
deviation 100, sampled at every second pixel by a cubic spline, filtered, and cut into bins of width 5.

There is one difference. On a flat background a high-pass sub-band is zero except for residues of the spline (1e-13 to
1e-7 of either sign), and zero is the border of two bins. In pyradiomics these residues decide in which bin a background
pixel falls. Here values are rounded first, which removes residues below 1e-9; the others differ from those of
pyradiomics' spline in the ninth digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from mtbench import DataError

SCALE = 100.0
STEP = 2
BIN_WIDTH = 5
SIGMAS = (2.0, 3.0, 4.0, 5.0)
"""Of the Laplacian of Gaussian, in pixels of the image before subsampling."""
SUB_BANDS = ("wavelet-LH", "wavelet-HL", "wavelet-HH", "wavelet-LL")
SMALLEST = 8
DIGITS = 9
"""Decimal places to which values are rounded before binning; further digits are rounding errors."""

Image = NDArray[np.float64]
Levels = NDArray[np.int64]
Mask = NDArray[np.bool_]


def _coiflet() -> tuple[list[float], list[float]]:
    """Low-pass and high-pass analysis filters of the first coiflet (Daubechies, Ten Lectures, table 8.1)."""
    root = sqrt(7)
    low = [tap / (16 * sqrt(2)) for tap in (root - 3, 1 - root, 14 - 2 * root, 14 + 2 * root, 5 + root, 1 - root)]
    high = [(-1) ** (k + 1) * tap for k, tap in enumerate(reversed(low))]
    return low, high


_LOW, _HIGH = _coiflet()


def normalised(image: Image) -> Image:
    """Mean 0 and (sample) standard deviation 100; a constant image becomes zero."""
    spread = float(image.std(ddof=1))
    if image.min() == image.max():
        return np.zeros_like(image)
    return np.asarray((image - image.mean()) * (1 / spread) * SCALE)


def sampled(image: Image) -> Image:
    """Every second pixel of H x W, taken halfway between pixels 0 and 1, 2 and 3, ... of a cubic spline.

    Returns:
        H // 2 x W // 2. The last row or column of an odd side shows only through the spline; pyradiomics puts
        zeros there, which its wavelets see and its features do not.
    """
    from scipy import ndimage

    at = [np.arange(0, side - 1, STEP) + (STEP - 1) / 2 for side in image.shape]
    grid = np.meshgrid(*at, indexing="ij")
    return np.asarray(ndimage.map_coordinates(image, grid, order=3, mode="mirror"))


def filtered(image: Image, laplacian: bool) -> Iterator[tuple[str, Image]]:
    """The image itself, Laplacians of Gaussian if requested, and four wavelet sub-bands, each with its name."""
    yield "original", image
    if laplacian:
        from scipy import ndimage

        for sigma in SIGMAS:
            width = sigma / STEP
            # Times sigma^2 in pixels of the unsampled image, with derivatives by the same unit.
            yield f"log-sigma-{sigma:g}", ndimage.gaussian_laplace(image, width, mode="nearest") * width**2
    yield from zip(SUB_BANDS, sub_bands(image), strict=True)


def sub_bands(image: Image) -> Iterator[Image]:
    """LH, HL, HH and LL of one level of the undecimated wavelet transform; periodic borders, columns first letter.

    Odd sides are made even by repeating the first row or column after the last.
    """
    height, width = image.shape
    even = np.pad(image, ((0, height % 2), (0, width % 2)), "wrap")
    low, high = _convolved(even, _LOW, 1), _convolved(even, _HIGH, 1)
    for across, down in ((low, _HIGH), (high, _LOW), (high, _HIGH), (low, _LOW)):
        yield _convolved(across, down, 0)[:height, :width]


def _convolved(image: Image, taps: list[float], axis: int) -> Image:
    total = np.zeros_like(image)
    for k, tap in enumerate(taps):
        total += tap * np.roll(image, k - len(taps) // 2, axis)
    return total


def sampled_mask(mask: Mask) -> Mask:
    """The pixels of :func:`sampled` that lie in a mask: of each two by two, the last pixel decides.

    It lies nearest to the sampled place if halves are rounded up, as ITK does.
    """
    height, width = mask.shape
    return np.asarray(mask[1::STEP, 1::STEP][: height // STEP, : width // STEP])


def levels(image: Image, mask: Mask | None = None) -> Levels:
    """Bins of width 5 whose borders are multiples of 5, numbered from 1, the lowest that occurs.

    With a mask the lowest is that of its pixels, and pixels outside are 0.
    """
    bins = np.floor(np.round(image, DIGITS) / BIN_WIDTH).astype(np.int64)
    if mask is None:
        return np.asarray(bins - bins.min() + 1)
    return np.where(mask, bins - bins[mask].min() + 1, 0)


def check(image: Image) -> None:
    """Refuse images without features.

    Raises:
        DataError: a side shorter than 8 pixels, or values that are not finite.
    """
    if min(image.shape) < SMALLEST:
        raise DataError(
            f"an image of {image.shape[0]} x {image.shape[1]} pixels is too small for radiomic features",
            expected=f"at least {SMALLEST} pixels a side",
        )
    if not np.isfinite(image).all():
        raise DataError("an image holds NaN or infinite values, which have no radiomic features")
