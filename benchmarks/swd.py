"""How fast the sliced Wasserstein distance is, against the definition of Karras et al. written the obvious way.

    OMP_NUM_THREADS=1 python benchmarks/swd.py --images 256 --size 256

Both run side by side on the same images, one thread each, taking turns; the ratio is the median over repeats.
The obvious way: three equal channels, scipy.ndimage.convolve for the pyramid, fancy indexing of 7 x 7 x 3 patches,
a matrix product with 147-d directions, and a sort along the first axis.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtbench import ImageSet, MetricInputs, Slice, Task
from mtbench.compute.context import Context
from mtbench_plugins.metrics.sliced_wasserstein import SlicedWasserstein

Floats = NDArray[np.float32]
KERNEL = (np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256).astype(np.float32)


def obvious(first: Floats, second: Floats, levels: int, rng: np.random.Generator) -> float:
    """Float32, N x 3 x H x W each, 0..255."""
    pyramids = [obvious_pyramid(images, levels) for images in (first, second)]
    by_level = []
    for bands in zip(*pyramids, strict=True):
        ours, theirs = (obvious_patches(band, rng) for band in bands)
        gaps = []
        for _ in range(4):
            directions = rng.standard_normal((147, 128))
            directions = (directions / np.sqrt((directions**2).sum(axis=0))).astype(np.float32)
            a, b = np.sort(ours @ directions, axis=0), np.sort(theirs @ directions, axis=0)
            gaps.append(np.abs(a - b).mean())
        by_level.append(1000 * np.mean(gaps))
    return float(np.mean(by_level))


def obvious_pyramid(images: Floats, levels: int) -> list[Floats]:
    kernel = KERNEL[None, None]
    bands = []
    for _ in range(levels - 1):
        smaller = ndimage.convolve(images, kernel, mode="mirror")[:, :, ::2, ::2]
        larger = np.zeros_like(images)
        larger[:, :, ::2, ::2] = smaller
        bands.append(images - ndimage.convolve(larger, 4 * kernel, mode="mirror"))
        images = smaller
    return [*bands, images]


def obvious_patches(band: Floats, rng: np.random.Generator) -> Floats:
    count, _, height, width = band.shape
    image = np.repeat(np.arange(count), 128)[:, None, None, None]
    y = rng.integers(0, height - 6, len(image))[:, None, None, None] + np.arange(7)[:, None]
    x = rng.integers(0, width - 6, len(image))[:, None, None, None] + np.arange(7)
    patches = band[image, np.arange(3)[:, None, None], y, x]
    patches = (patches - patches.mean(axis=(0, 2, 3), keepdims=True)) / patches.std(axis=(0, 2, 3), keepdims=True)
    return np.asarray(patches.reshape(len(patches), -1))


def image_set(images: NDArray[np.uint8], prefix: str) -> ImageSet:
    slices = tuple(Slice(f"{prefix}{i}", f"{prefix}{i}", f"{prefix}{i}") for i in range(len(images)))
    return ImageSet(images, slices, None, Task("toy"), "target", "test")


def textures(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(size=(count, size, size))
    soft = ndimage.uniform_filter(noise, (0, 3 + 2 * seed, 3 + 2 * seed)) * (3 + 2 * seed)
    return np.asarray(np.clip(np.rint(110 + 40 * soft), 0, 255).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="in each of the two sets")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    first, second = textures(options.images, options.size, 0), textures(options.images, options.size, 1)
    inputs = MetricInputs(Task("toy"), candidate=image_set(first, "a"), reference=image_set(second, "b"))
    metric, context = SlicedWasserstein(), Context(threads=1)
    assert inputs.candidate is not None
    assert inputs.reference is not None
    levels = metric.level_count(inputs.candidate, inputs.reference)
    channels = [np.repeat(x[:, None], 3, axis=1).astype(np.float32) for x in (first, second)]
    ours, theirs = [], []
    for repeat in range(options.repeats):
        started = time.perf_counter()
        fast = metric.compute(inputs, context).value
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        plain = obvious(channels[0], channels[1], levels, np.random.default_rng(repeat))
        theirs.append(time.perf_counter() - started)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    print(f"{options.images} + {options.images} images of {options.size} x {options.size}, {levels} levels, 1 thread")
    print(f"swd[karras]     {median(ours):7.2f} s   value {fast:.2f}")
    print(f"the obvious way {median(theirs):7.2f} s   value {plain:.2f} (other random numbers)")
    print(f"ratio           {median(ratios):7.1f}     ({', '.join(f'{r:.1f}' for r in ratios)})")


if __name__ == "__main__":
    main()
