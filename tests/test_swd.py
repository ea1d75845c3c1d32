"""The sliced Wasserstein distance against a slow, plain, float64, three-channel reading of its definition."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mtbench import DataError, ImageSet, MetricInputs, Slice, Task
from mtbench.compute.context import Context
from mtbench.registry.discovery import discover
from mtbench_plugins.metrics.pyramid import laplacian
from mtbench_plugins.metrics.sliced_wasserstein import SlicedWasserstein
from mtbench_plugins.metrics.wasserstein import comparison, distance

KARRAS, KOSHIAN2 = SlicedWasserstein("karras"), SlicedWasserstein("koshian2")
KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256.0


def image_set(images: NDArray[np.generic], prefix: str = "s") -> ImageSet:
    slices = tuple(Slice(f"{prefix}{i}", f"{prefix}{i // 4}", f"{prefix}{i // 4}", i % 4) for i in range(len(images)))
    return ImageSet(images, slices, None, Task("toy"), "target", "test")


def textures(n: int, size: tuple[int, int], seed: int, smooth: int = 3) -> NDArray[np.uint8]:
    """Blurred noise with a gradient: images with something on every pyramid level."""
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.normal(size=(n, 1, *size)))
    blurred = torch.nn.functional.avg_pool2d(noise, smooth, 1, smooth // 2).numpy()[:, 0]
    images = 110 + 60 * blurred + np.linspace(0, 60, size[1]) * rng.uniform(size=(n, 1, 1))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def score(metric: SlicedWasserstein, first: ImageSet, second: ImageSet, threads: int = 2) -> float:
    inputs = MetricInputs(first.task, candidate=first, reference=second)
    return metric.compute(inputs, Context(threads=threads)).value


# the definition, written as plainly as it can be


def filtered(image: NDArray[np.float64], kernel: NDArray[np.float64], mirror: bool) -> NDArray[np.float64]:
    padded = np.pad(image, 2, mode="reflect" if mirror else "constant")
    tensor = torch.from_numpy(padded)[None, None]
    return torch.nn.functional.conv2d(tensor, torch.from_numpy(kernel)[None, None])[0, 0].numpy()


def reference_pyramid(image: NDArray[np.float64], levels: int, variant: str) -> list[NDArray[np.float64]]:
    mirror = variant == "karras"
    bands = []
    for _ in range(levels - 1):
        smaller = filtered(image, KERNEL, mirror)[::2, ::2]
        if mirror:
            larger = np.zeros((2 * smaller.shape[0], 2 * smaller.shape[1]))
            larger[::2, ::2] = smaller
            larger = filtered(larger, 4 * KERNEL, mirror)
        else:
            larger = filtered(smaller.repeat(2, axis=0).repeat(2, axis=1), KERNEL, mirror)
        bands.append(image - larger[: image.shape[0], : image.shape[1]])
        image = smaller
    return [*bands, image]


def reference_distance(metric: SlicedWasserstein, first: ImageSet, second: ImageSet, levels: int) -> float:
    by_level = []
    for level in range(levels):
        sets = []
        for role, images in (("candidate", first), ("reference", second)):
            patches = []
            for i, one in enumerate(images.images):
                band = reference_pyramid(one / 255.0, levels, metric.variant)[level]
                columns = band.shape[1] - 6
                corners = metric.draw_positions(band.shape, [images.slices[i].slice_id], role, level)[0]
                for corner in corners:
                    y, x = divmod(int(corner), columns)
                    patch = band[y : y + 7, x : x + 7].ravel()
                    patches.append(np.concatenate([patch, patch, patch]))
            flat = np.array(patches)
            deviation = flat.std() if metric.variant == "karras" else flat[:, :49].std(ddof=1) + 1e-8
            sets.append((flat - flat.mean()) / deviation)
        gaps = []
        for direction in metric.draw_directions(level):
            ours, theirs = np.sort(sets[0] @ direction), np.sort(sets[1] @ direction)
            gaps.append(np.abs(ours - theirs).mean())
        by_level.append(np.mean(gaps))
    return float(1000 * np.mean(by_level))


# tests


@pytest.mark.parametrize("variant", ["karras", "koshian2"])
@pytest.mark.parametrize(("size", "levels"), [((64, 64), 3), ((32, 48), 2), ((16, 16), 1), ((70, 67), 3)])
def test_equals_the_plain_definition(variant: str, size: tuple[int, int], levels: int) -> None:
    first = image_set(textures(6, size, 1), "a")
    second = image_set(textures(6, size, 2, smooth=5), "b")
    metric = SlicedWasserstein(variant, patches=20, directions=40)  # type: ignore[arg-type]
    expected = reference_distance(metric, first, second, levels)
    assert score(metric, first, second) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", ["karras", "koshian2"])
@pytest.mark.parametrize("size", [(64, 64), (33, 50), (17, 16), (96, 96)])
def test_pyramid(variant: str, size: tuple[int, int]) -> None:
    images = textures(2, size, 3).astype(np.float32)
    expected = [reference_pyramid(image.astype(float), 2, variant) for image in images]
    for level, band in enumerate(laplacian(images, 2, variant)):
        np.testing.assert_allclose(band, np.array([bands[level] for bands in expected]), atol=2e-4)


def test_directions_and_positions_follow_the_two_definitions() -> None:
    np.testing.assert_allclose(np.linalg.norm(KARRAS.draw_directions(0), axis=1), 1.0)
    np.testing.assert_allclose(KOSHIAN2.draw_directions(0).std(axis=1, ddof=1), 1.0)
    own = KARRAS.draw_positions((64, 64), ["a", "b"], "candidate", 0)
    assert own.shape == (2, 128)
    assert (own[0] != own[1]).any()
    shared = KOSHIAN2.draw_positions((16, 16), ["a", "b"], "candidate", 2)
    assert sorted(shared[0]) == list(range(100))
    np.testing.assert_array_equal(shared[0], shared[1])


def breast(vendor: str, count: int) -> ImageSet:
    root = os.environ.get("MTBENCH_TEST_DATA")
    if not root:
        pytest.skip("MTBENCH_TEST_DATA is not set")
    files = sorted((Path(root) / "data" / "breast_mr" / vendor).glob("*.png"))
    assert len(files) >= count
    return image_set(np.array([np.asarray(Image.open(f)) for f in files[:count]]), vendor)


@pytest.mark.slow
def test_on_real_images_koshian2_has_the_scale_of_the_published_table() -> None:
    first, second = breast("siemens", 96), breast("ge", 96)
    karras, koshian2 = score(KARRAS, first, second), score(KOSHIAN2, first, second)
    assert 20 < karras < 150
    assert 200 < koshian2 < 2000
    assert 5 < koshian2 / karras < 25
    halves = score(KARRAS, second.subset(range(0, 96, 2)), second.subset(range(1, 96, 2)))
    assert halves < karras


@pytest.mark.parametrize(("variant", "offset"), [("karras", 0.0), ("karras", 0.25), ("koshian2", 0.0)])
def test_the_range_of_grey_values_does_not_matter(variant: str, offset: float) -> None:
    metric = SlicedWasserstein(variant, patches=32, directions=64)  # type: ignore[arg-type]
    first, second = textures(8, (64, 64), 1), textures(8, (64, 64), 2, smooth=5)
    plain = score(metric, image_set(first, "a"), image_set(second, "b"))
    a, b = (image_set((offset + x / 1020.0).astype(np.float32), p) for x, p in ((first, "a"), (second, "b")))
    assert score(metric, a, b) == pytest.approx(plain, rel=1e-4)


def test_result_does_not_depend_on_order_threads_or_company() -> None:
    metric = SlicedWasserstein(patches=32, directions=64)
    first, second = image_set(textures(20, (32, 32), 1), "a"), image_set(textures(20, (32, 32), 2, 5), "b")
    value = score(metric, first, second)
    np.random.seed(0)
    assert score(metric, first, second, threads=1) == value
    shuffled = first.subset(np.random.default_rng(0).permutation(20))
    assert score(metric, shuffled, second) == pytest.approx(value, rel=1e-7)
    assert score(SlicedWasserstein(patches=32, directions=64, seed=1), first, second) != value
    small = metric.descriptors(first.subset([7]), "candidate", 2)
    whole = metric.descriptors(first, "candidate", 2)
    for level in range(2):
        np.testing.assert_array_equal(small[level][0], whole[level][7])


def test_worse_images_lie_further_away() -> None:
    clean = textures(48, (64, 64), 1)
    target = image_set(textures(48, (64, 64), 2), "b")
    rng = np.random.default_rng(0)
    values = []
    for noise in (0, 5, 15, 40):
        noisy = np.clip(np.rint(clean + rng.normal(0, noise, clean.shape)), 0, 255).astype(np.uint8)
        values.append(score(SlicedWasserstein(), image_set(noisy, "a"), target))
    assert values == sorted(values)
    assert values[-1] > 2 * values[0]


def test_unequal_numbers_give_the_exact_distance() -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    first, second = (
        rng.normal(size=(31, 4)).astype(np.float32),
        rng.normal(1, 2, size=(18, 4)).astype(np.float32),
    )
    directions = rng.normal(size=(20, 4)).astype(np.float32)
    expected = np.mean([wasserstein_distance(first @ d, second @ d) for d in directions])
    assert distance(first, second, directions) == pytest.approx(expected, rel=1e-5)
    # Every point twice is the same distribution.
    assert distance(np.repeat(first, 2, axis=0), second, directions) == pytest.approx(expected, rel=1e-5)
    assert comparison(3, 3)(np.arange(3, dtype=np.float32)[None], np.arange(1, 4, dtype=np.float32)[None]) == 1.0


@pytest.mark.parametrize("variant", ["karras", "koshian2"])
def test_constant_images_give_numbers(variant: str) -> None:
    metric = SlicedWasserstein(variant, patches=16, directions=16)  # type: ignore[arg-type]
    grey, other = np.full((4, 32, 32), 77, np.uint8), np.full((4, 32, 32), 201, np.uint8)
    # Under koshian2 the zero borders leave an edge, the same for both.
    assert score(metric, image_set(grey, "a"), image_set(other, "b")) == pytest.approx(0.0, abs=0.1)
    assert score(metric, image_set(grey, "a"), image_set(textures(4, (32, 32), 1), "b")) > 50


def test_bad_input() -> None:
    metric = SlicedWasserstein()
    with pytest.raises(DataError, match=r"different sizes.*32 x 32"):
        score(metric, image_set(textures(2, (64, 64), 1)), image_set(textures(2, (32, 32), 1)))
    with pytest.raises(DataError, match="at least 16 pixels"):
        score(metric, image_set(textures(2, (15, 64), 1)), image_set(textures(2, (15, 64), 1)))
    with pytest.raises(DataError, match=r"have 3 pyramid levels, fewer than the 4 requested.*at least 128"):
        score(SlicedWasserstein(levels=4), *(image_set(textures(2, (64, 64), 1)),) * 2)


def test_printed_name_always_says_the_variant() -> None:
    registered = discover(third_party=False).get("metric", "swd")
    defaults = discover(third_party=False).get("metric", "swd").complete({})
    assert registered.spec.printed_variant(defaults) == "karras"
    other = {**defaults, "variant": "koshian2", "patches": 64}
    assert registered.spec.printed_variant(other) == "koshian2,patches=64"
    assert registered.spec.balanced
    assert isinstance(registered.create(defaults), SlicedWasserstein)
