"""Damage to the appearance: the anatomy and its masks stay where they are.

Each function takes the slice, a strength whose 0 changes nothing, and a generator that gives the same numbers at every
strength, so that the levels of an operator are degrees of one damage. Noise, blur, bias field, gamma, intensity offset,
ghosting and stripes are those of Dohmen et al., Similarity and quality metrics for MR image-to-image translation,
Scientific Reports 2025, in definitions of our own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from mtbench.stress.pixels import Pixels

Rng = np.random.Generator


def _with(pixels: Pixels, image: ArrayLike) -> Pixels:
    return replace(pixels, image=np.asarray(image, np.float32))


def noise(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Normal noise; the strength is its standard deviation."""
    return _with(pixels, pixels.image + strength * rng.normal(size=pixels.image.shape))


def blur(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """A Gaussian; the strength is its standard deviation in pixels."""
    return _with(pixels, ndimage.gaussian_filter(pixels.image, (0, strength, strength), mode="nearest"))


def bias_field(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """A smooth gain of mean 1, as of a coil; the strength is its largest deviation from 1."""
    field = smooth_noise(pixels.size, min(pixels.size) / 3, rng)
    return _with(pixels, pixels.image * (1 + strength * field))


def gain(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """All values times 1 - strength."""
    return _with(pixels, pixels.image * (1 - strength))


def offset(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """All values plus the strength."""
    return _with(pixels, pixels.image + strength)


def contrast(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Values moved towards middle grey; at strength 1 nothing else is left."""
    return _with(pixels, 0.5 + (pixels.image - 0.5) * (1 - strength))


def gamma_up(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Values to the power of 1 + strength: darker."""
    return _with(pixels, np.clip(pixels.image, 0, 1) ** (1 + strength))


def gamma_down(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Values to the power of 1 / (1 + strength): brighter."""
    return _with(pixels, np.clip(pixels.image, 0, 1) ** (1 / (1 + strength)))


def invert(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Values above 1 - strength become 1 - value; at strength 1 all of them."""
    return _with(
        pixels, np.where(pixels.image > 1 - strength, 1 - pixels.image, pixels.image) if strength else pixels.image
    )


def ringing(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Gibbs ringing: the share of the highest frequencies along each axis that is cut off."""
    rows, columns = (np.abs(fft.fftfreq(length)) * 2 <= 1 - strength for length in pixels.size)
    keep = rows[:, None] & columns[None, :]
    return _with(pixels, fft.ifft2(fft.fft2(pixels.image) * keep).real)


def ghosting(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Every fourth line of k-space but the central ones scaled by 1 - strength: ghosts along the rows' axis."""
    height = pixels.size[0]
    lines = fft.fft(pixels.image, axis=-2)
    scale = np.ones(height)
    scale[::4] = 1 - strength
    centre = np.abs(fft.fftfreq(height)) < 0.02
    scale[centre] = 1
    return _with(pixels, fft.ifft(lines * scale[:, None], axis=-2).real)


def stripes(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """A spike in k-space: a wave of the strength's amplitude across the slice, in a random direction."""
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(0.1, 0.2)
    rows, columns = np.indices(pixels.size)
    wave = np.cos(2 * np.pi * cycles * (np.sin(angle) * rows + np.cos(angle) * columns))
    return _with(pixels, pixels.image + strength * wave)


def resample(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Resolution lost: pixels 1 + strength times as large, and linearly back to the size."""
    if not strength:
        return pixels
    height, width = pixels.size
    small = max(2, round(height / (1 + strength))), max(2, round(width / (1 + strength)))
    coarse = [_resized(channel, small) for channel in pixels.image]
    return _with(pixels, np.stack([_resized(channel, (height, width)) for channel in coarse]))


def quantise(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """Depth lost: values rounded to 2^(8 - strength) equally spaced grey levels, 0 and 1 among them."""
    if not strength:
        return pixels
    steps = max(1, round(2 ** (8 - strength)) - 1)
    return _with(pixels, np.round(np.clip(pixels.image, 0, 1) * steps) / steps)


def _resized(image: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """Linear interpolation between pixel centres; a mean first where pixels become larger."""
    ratio = [old / new for old, new in zip(image.shape, size, strict=True)]
    smooth = ndimage.gaussian_filter(image.astype(np.float64), [max(r - 1, 0) / 2 for r in ratio], mode="nearest")
    places = [(np.arange(new) + 0.5) * r - 0.5 for new, r in zip(size, ratio, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, grid, order=1, mode="nearest"), np.float64)


_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""The quantisation of luminance in ITU-T T.81 (JPEG), table K.1."""


def jpeg(pixels: Pixels, strength: float, rng: Rng) -> Pixels:
    """JPEG's loss: 8 x 8 cosine coefficients in steps of the strength times T.81's table K.1 (quality 50 is 1)."""
    if not strength:
        return pixels
    channels, height, width = pixels.image.shape
    padded = np.pad(pixels.image * 255.0, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge") - 128
    blocks = padded.reshape(channels, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8)
    step = (_LUMINANCE * strength)[:, None, :]
    coefficients = np.rint(fft.dctn(blocks, axes=(2, 4), norm="ortho") / step) * step
    values = fft.idctn(coefficients, axes=(2, 4), norm="ortho").reshape(padded.shape) + 128
    return _with(pixels, values[:, :height, :width] / 255.0)


def smooth_noise(size: tuple[int, int], scale: float, rng: Rng) -> NDArray[np.float64]:
    """A random field, H x W, of mean 0 and magnitude at most 1: cubic B-splines ``scale`` pixels apart."""
    rows, columns = (_splines(length, scale) for length in size)
    field = rows @ rng.normal(size=(rows.shape[1], columns.shape[1])) @ columns.T
    field -= field.mean()
    return np.asarray(field / (np.abs(field).max() or 1.0), np.float64)


def _splines(length: int, scale: float) -> NDArray[np.float64]:
    """The value of each cubic B-spline at each pixel: pixels x splines."""
    distance = np.abs(np.arange(length)[:, None] / scale + 1 - np.arange(int(length / scale) + 4))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far), np.float64)
