"""FRD: each class of features against its printed formulas, whole images and distances against frd-score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import radiomics_reference as plain
import scipy.stats
import torch
from numpy.typing import NDArray
from PIL import Image
from radiomics_reference import picture

import mtbench
from mtbench import DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.compute.context import Context
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench_plugins.extractors import radiomics_images
from mtbench_plugins.extractors.radiomics_extractor import Radiomics, features, region_features
from mtbench_plugins.extractors.radiomics_histogram import histogram_features
from mtbench_plugins.extractors.radiomics_neighbours import cooccurrence_features, neighbourhood_features
from mtbench_plugins.extractors.radiomics_regions import run_features, zone_features
from mtbench_plugins.metrics.masked_radiomics import MaskedFrd

RUN_NAMES = (
    "ShortRunEmphasis LongRunEmphasis GrayLevelNonUniformity GrayLevelNonUniformityNormalized RunLengthNonUniformity "
    "RunLengthNonUniformityNormalized RunPercentage GrayLevelVariance RunVariance RunEntropy "
    "LowGrayLevelRunEmphasis HighGrayLevelRunEmphasis ShortRunLowGrayLevelEmphasis ShortRunHighGrayLevelEmphasis "
    "LongRunLowGrayLevelEmphasis LongRunHighGrayLevelEmphasis"
)
ZONE_NAMES = (
    "SmallAreaEmphasis LargeAreaEmphasis GrayLevelNonUniformity GrayLevelNonUniformityNormalized "
    "SizeZoneNonUniformity SizeZoneNonUniformityNormalized ZonePercentage GrayLevelVariance ZoneVariance ZoneEntropy "
    "LowGrayLevelZoneEmphasis HighGrayLevelZoneEmphasis SmallAreaLowGrayLevelEmphasis "
    "SmallAreaHighGrayLevelEmphasis LargeAreaLowGrayLevelEmphasis LargeAreaHighGrayLevelEmphasis"
)

EXAMPLE = np.array([[5, 2, 5, 4, 4], [3, 3, 3, 1, 3], [2, 1, 1, 1, 3], [4, 2, 2, 2, 3], [3, 5, 3, 3, 2]])
"""The worked example of pyradiomics' documentation."""

PEER: dict[str, float] = {
    # picture(3) through frd-score 1.0.1 with pyradiomics at commit 8ed5793 (2025-06-16).
    "diagnostics_Image-original_Mean": 98.6725,
    "original_firstorder_Energy": 39911715.6,
    "original_firstorder_Entropy": 4.73948168,
    "original_firstorder_Kurtosis": 2.83790787,
    "original_glcm_ClusterShade": 66159.6934,
    "original_glcm_Correlation": 0.804568553,
    "original_glcm_Idmn": 0.978971521,
    "original_glcm_Imc1": -0.353110054,
    "original_glcm_Imc2": 0.982908169,
    "original_glcm_JointEnergy": 0.00604238285,
    "original_glcm_InverseVariance": 0.25310936,
    "original_glrlm_RunEntropy": 5.10409034,
    "original_glrlm_LongRunHighGrayLevelEmphasis": 1583.44747,
    "original_glrlm_GrayLevelNonUniformity": 19.7553657,
    "original_glszm_ZoneVariance": 0.726511187,
    "original_glszm_SmallAreaLowGrayLevelEmphasis": 0.00597351667,
    "original_ngtdm_Busyness": 0.0371521403,
    "original_ngtdm_Complexity": 8123.13376,
    "original_ngtdm_Strength": 59.9661184,
    "original_ngtdm_Coarseness": 0.016255994,
    "original_ngtdm_Contrast": 1.28864909,
    "wavelet-HL_firstorder_Energy": 36681002.6,
    "wavelet-HL_firstorder_Entropy": 4.33976873,
    "wavelet-HL_firstorder_Kurtosis": 13.4963082,
    "wavelet-HL_glcm_ClusterShade": -469.795315,
    "wavelet-HL_glcm_Correlation": -0.00263341851,
    "wavelet-HL_glcm_Idmn": 0.984655717,
    "wavelet-HL_glcm_Imc1": -0.265293834,
    "wavelet-HL_glcm_Imc2": 0.949389193,
    "wavelet-HL_glcm_JointEnergy": 0.00803729349,
    "wavelet-HL_glcm_InverseVariance": 0.21688035,
    "wavelet-HL_glrlm_RunEntropy": 4.75817132,
    "wavelet-HL_glrlm_LongRunHighGrayLevelEmphasis": 3249.78263,
    "wavelet-HL_glrlm_GrayLevelNonUniformity": 25.5903301,
    "wavelet-HL_glszm_ZoneVariance": 1.18209877,
    "wavelet-HL_glszm_SmallAreaLowGrayLevelEmphasis": 0.00399156794,
    "wavelet-HL_ngtdm_Busyness": 0.0225272737,
    "wavelet-HL_ngtdm_Complexity": 6405.91461,
    "wavelet-HL_ngtdm_Strength": 20.7897678,
    "wavelet-HL_ngtdm_Coarseness": 0.0131878313,
    "wavelet-HL_ngtdm_Contrast": 0.298574575,
}
PEER_FLAT: dict[str, tuple[float, float]] = {
    # picture(3) amid 30 and 20 pixels of black, through pyradiomics 3.0.1 with frd-score's settings: with its sub-bands
    # rounded to six digits, and as it is.
    "wavelet-LH_firstorder_Entropy": (2.452806303, 2.609239234),
    "wavelet-LH_glcm_ClusterShade": (-173.5726559, -75.44614931),
    "wavelet-LH_glcm_Imc1": (-0.3749713005, -0.3416240726),
    "wavelet-LH_glrlm_RunVariance": (19.65394197, 9.550142857),
    "wavelet-LH_glszm_ZoneVariance": (3776.088379, 1847.46667),
    "wavelet-LH_ngtdm_Busyness": (0.0363113692, 0.04837051418),
    "wavelet-LH_ngtdm_Strength": (16.40872178, 15.74199016),
    "wavelet-HL_firstorder_Entropy": (2.491504964, 2.662232491),
    "wavelet-HL_glcm_ClusterShade": (-434.6565685, -326.7297889),
    "wavelet-HL_glcm_Imc1": (-0.3832707276, -0.3512311201),
    "wavelet-HL_glrlm_RunVariance": (19.17160467, 9.57254588),
    "wavelet-HL_glszm_ZoneVariance": (3541.906568, 1121.586851),
    "wavelet-HL_ngtdm_Busyness": (0.02581330379, 0.03513103388),
    "wavelet-HL_ngtdm_Strength": (16.28050348, 15.67868039),
    "wavelet-HH_firstorder_Entropy": (2.054971022, 2.23543116),
    "wavelet-HH_glcm_ClusterShade": (-90.92560821, -65.48925437),
    "wavelet-HH_glcm_Imc1": (-0.2563593457, -0.217725836),
    "wavelet-HH_glrlm_RunVariance": (15.7197991, 3.186044504),
    "wavelet-HH_glszm_ZoneVariance": (4728.608229, 2977.08572),
    "wavelet-HH_ngtdm_Busyness": (0.04981764735, 0.08336998735),
    "wavelet-HH_ngtdm_Strength": (12.38885582, 10.99048785),
}
PEER_FRD = (6.918988554757592, 8.299739361140446)
"""frd-score of pictures 0-11 and 12-23, and the other way round; the first set is its reference."""
PEER_FRD_WITHOUT_NOISE = (6.914016636, 8.297752033)
"""The same from its features without the means of the high-pass sub-bands, which are 0 but for 1e-17."""


def images(kind: str) -> NDArray[np.int64]:
    random = np.random.default_rng(3)
    if kind == "example":
        return EXAMPLE
    if kind == "flat":
        return np.ones((6, 5), np.int64)
    if kind == "stripes":
        return np.tile(np.array([1, 1, 4]), (5, 3))
    if kind == "masked":
        levels = random.integers(1, 6, (11, 12)) * (random.random((11, 12)) < 0.7)
        levels[:4, :4] = 0
        levels[1, 1] = 3  # alone
        return levels
    if kind == "gaps":
        return random.choice([1, 2, 9, 10, 17], (9, 8))
    return random.integers(1, 5, (7, 10))


@pytest.mark.parametrize("kind", ["example", "flat", "stripes", "gaps", "noise", "masked"])
def test_texture_features_are_their_formulas(kind: str) -> None:
    image = images(kind)
    pixels = np.count_nonzero(image)
    # IMC 2 is a root of a difference that is 0 on stripes: 1e-16 of rounding is 1e-8 of it.
    assert cooccurrence_features(image) == pytest.approx(plain.glcm(image), rel=1e-9, abs=1e-7)
    assert neighbourhood_features(image) == pytest.approx(plain.ngtdm(image), rel=1e-10, abs=1e-12)
    runs = np.mean([plain.region_formulas(plain.run_lengths(image, step), pixels) for step in plain.DIRECTIONS], axis=0)
    assert run_features(image) == pytest.approx(dict(zip(RUN_NAMES.split(), runs, strict=True)), rel=1e-10, abs=1e-12)
    zones = plain.region_formulas(plain.zone_sizes(image), pixels)
    assert zone_features(image) == pytest.approx(
        dict(zip(ZONE_NAMES.split(), zones, strict=True)), rel=1e-10, abs=1e-12
    )


def test_a_region_has_the_features_of_its_pixels_alone() -> None:
    image, mask = picture(2), np.zeros((40, 40), bool)
    mask[9:31, 5:26] = True
    whole, everywhere = features(image), region_features(image, np.ones((40, 40), bool))
    assert everywhere == {name: whole[name] for name in everywhere}
    assert len(everywhere) == 3 + 5 * 77
    part = region_features(image, mask)
    prepared = radiomics_images.sampled(radiomics_images.normalised(image.astype(float)))
    # Rows 9 to 30 hold the sampled pixels whose second row is odd: 4 to 14; likewise columns 2 to 12.
    inside = prepared[4:15, 2:13]
    assert part["original_firstorder_Maximum"] == pytest.approx(inside.max(), abs=1e-4)
    assert part["original_firstorder_Skewness"] == pytest.approx(scipy.stats.skew(inside.ravel()))
    levels = np.floor(np.round(inside, 9) / 5).astype(int)
    levels -= levels.min() - 1
    expected = plain.glcm(levels)
    assert {name: part[f"original_glcm_{name}"] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-7)


def regions(count: int, start: int, masks: NDArray[np.uint8] | None = None) -> ImageSet:
    """Pictures with a square of label 1 where the masks do not say otherwise."""
    pixels = np.stack([picture(start + k) for k in range(count)])
    if masks is None:
        masks = np.zeros(pixels.shape, np.uint8)
        masks[:, 8:32, 8:32] = 1
    slices = tuple(Slice(f"{start}-{k}", f"p{k}", f"p{k}") for k in range(count))
    return ImageSet(pixels, slices, masks, Task("t", labels={1: "bone"}), "source", "test")


def test_masked_frd_is_frd_of_the_regions_features_and_skips_slices_with_too_little_of_it() -> None:
    ours, theirs = regions(9, 0), regions(8, 9)
    assert ours.masks is not None
    masks = np.array(ours.masks)
    masks[3] = 0
    masks[3, 10:16, 10:16] = 1  # 9 sampled pixels
    inputs = MetricInputs(ours.task, ours, theirs, reference_masks=masks)
    metric = MaskedFrd()
    (score,) = metric.compute(inputs, Context())
    assert score.label == "bone"
    assert "1 of 9 translated slices skipped: too little of bone" in score.note
    assert score.mark == "*"
    rows = []
    for side, of in ((ours, masks), (theirs, np.asarray(theirs.masks))):
        kept = [k for k in range(len(side)) if k != 3 or side is theirs]
        each = [list(region_features(side.images[k], of[k] == 1).values()) for k in kept]
        rows.append(np.array(each, np.float32).astype(float))
    mean, spread = rows[1].mean(0), rows[1].std(0)
    varied = spread > 1e-6 * np.abs(mean)
    x, y = ((side[:, varied] - mean[varied]) / spread[varied] for side in rows)
    roots = np.linalg.svd((x - x.mean(0)) @ (y - y.mean(0)).T, compute_uv=False).sum() / np.sqrt(7 * 7)
    squared = np.square(x.mean(0) - y.mean(0)).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum() - 2 * roots
    assert score.value == pytest.approx(math.log(squared), abs=1e-6)
    assert MaskedFrd(paper_log=True).compute(inputs, Context())[0].value == pytest.approx(score.value / 2)
    # A part of the slices, with features that are already known.
    again = metric.compute(inputs.select([0, 1, 2, 4, 5], None), Context())[0]
    assert again.value == pytest.approx(
        MaskedFrd().compute(inputs.select([0, 1, 2, 4, 5], None), Context())[0].value, rel=1e-12
    )


def test_masked_frd_needs_masks_on_both_sides_and_two_slices_with_the_region() -> None:
    ours, theirs = regions(3, 0), regions(3, 9)
    bare = MetricInputs(ours.task, ours, replace(theirs, masks=None), reference_masks=ours.masks)
    with pytest.raises(DataError, match="masks in both domains"):
        MaskedFrd().compute(bare, Context())
    empty = np.zeros((3, 40, 40), np.uint8)
    with pytest.raises(DataError, match="0 slices of a side have enough of 'bone'"):
        MaskedFrd().compute(MetricInputs(ours.task, ours, theirs, reference_masks=empty), Context())


def test_the_reference_fills_the_matrices_of_the_documentation() -> None:
    runs = plain.run_lengths(EXAMPLE, (0, 1))
    assert runs.tolist() == [[1, 0, 1, 0, 0], [3, 0, 1, 0, 0], [4, 1, 1, 0, 0], [1, 1, 0, 0, 0], [3, 0, 0, 0, 0]]
    zones = plain.zone_sizes(EXAMPLE)[:, :5]
    assert zones.tolist() == [[0, 0, 0, 1, 0], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0], [3, 0, 0, 0, 0]]
    n, s = plain.neighbourhood(np.array([[1, 2, 5, 2], [3, 5, 1, 3], [1, 3, 5, 5], [3, 1, 1, 1]]))
    assert n.tolist() == [6, 2, 4, 0, 4]
    assert s == pytest.approx([13.35, 2.0, 3.0333, 0, 10.075], abs=1e-4)


def test_first_order_features_by_hand() -> None:
    result = histogram_features(np.array([-3.0, -1, 0, 0, 4]), np.array([0.4, 0.4, 0.2]), 4.0)
    assert result["Energy"] == 297**2 + 299**2 + 2 * 300**2 + 304**2
    assert result["TotalEnergy"] == 4 * result["Energy"]
    assert result["RootMeanSquared"] == pytest.approx(math.sqrt(result["Energy"] / 5), abs=1e-4)
    assert (result["Minimum"], result["Median"], result["Maximum"], result["Mean"], result["Range"]) == (-3, 0, 4, 0, 7)
    assert (result["10Percentile"], result["90Percentile"]) == pytest.approx((-2.2, 2.4))
    assert (result["InterquartileRange"], result["MeanAbsoluteDeviation"]) == pytest.approx((1.0, 1.6))
    # Between the 10th and the 90th percentile lie -1, 0 and 0.
    assert result["RobustMeanAbsoluteDeviation"] == pytest.approx(4 / 9, abs=1e-4)
    assert result["Variance"] == pytest.approx(26 / 5)
    assert result["Skewness"] == pytest.approx((36 / 5) / (26 / 5) ** 1.5)
    assert result["Kurtosis"] == pytest.approx((338 / 5) / (26 / 5) ** 2)
    assert result["Entropy"] == pytest.approx(-(0.8 * math.log2(0.4) + 0.2 * math.log2(0.2)))
    assert result["Uniformity"] == pytest.approx(0.36)


def test_sub_bands_keep_energy_and_say_which_way_they_are_smooth() -> None:
    image = np.random.default_rng(0).standard_normal((12, 16))
    bands = dict(zip(radiomics_images.SUB_BANDS, radiomics_images.sub_bands(image), strict=True))
    assert sum(np.square(band).sum() for band in bands.values()) == pytest.approx(4 * np.square(image).sum())
    along_rows = np.tile(np.sin(np.arange(16) * np.pi / 2), (12, 1))
    strongest = dict(zip(radiomics_images.SUB_BANDS, radiomics_images.sub_bands(along_rows), strict=True))
    assert np.abs(strongest["wavelet-HL"]).max() > 0.5
    assert np.abs(strongest["wavelet-LH"]).max() < 1e-12
    assert [band.shape for band in radiomics_images.sub_bands(image[:11, :13])] == [(11, 13)] * 4


def test_sampling_takes_the_spline_between_pixels() -> None:
    line = np.arange(40.0)
    result = radiomics_images.sampled(np.add.outer(line**2, np.ones(9)))
    assert result.shape == (20, 4)
    # A spline of order 3 has a parabola's values, away from the mirrored borders.
    assert result[9:11, 0] - 1 == pytest.approx([18.5**2, 20.5**2], abs=1e-6)


def test_bins_are_counted_from_the_lowest_and_begin_at_multiples_of_five() -> None:
    values = np.array([[-7.0, -5.0, -1e-13, 0.0, 4.999, 5.0, 21.0]])
    assert radiomics_images.levels(values).tolist() == [[1, 2, 3, 3, 3, 4, 7]]


def test_features_of_an_image_are_those_of_pyradiomics() -> None:
    result = features(picture(3))
    # An image's darkest and brightest value come first.
    assert tuple(result)[:2] == ("diagnostics_Image-original_Minimum", "diagnostics_Image-original_Maximum")
    assert len(result) == 9 + 5 * 77
    assert {name: result[name] for name in PEER} == pytest.approx(PEER, rel=1e-6)


def test_features_do_not_depend_on_the_grey_scale() -> None:
    one, other = features(picture(5)), features(picture(5).astype(float) / 3 + 11)
    for name in one:
        if not name.startswith("diagnostics_Image-original"):
            assert other[name] == pytest.approx(one[name], rel=1e-6, abs=2e-4), name


def test_extractor_gives_the_same_in_any_batch() -> None:
    pictures = [picture(k).astype(np.float32) / np.float32(255) for k in range(3)]
    batch = torch.from_numpy(np.stack(pictures)[:, None])
    result = Radiomics().extract(batch, Context())["features"]
    assert result.shape == (3, 394)
    assert result.dtype == torch.float32
    assert torch.equal(result[1:2], Radiomics().extract(batch[1:2], Context())["features"])
    assert result[2].tolist() == [np.float32(value) for value in features(picture(2)).values()]
    more = Radiomics(laplacian=True).extract(batch[:1], Context())["features"]
    assert more.shape == (1, 394 + 4 * 77)


def test_laplacian_of_a_wave() -> None:
    # Far from the border, sigma^2 times the Laplacian of a smoothed wave is -(s f)^2 exp(-(s f)^2 / 2) of it.
    frequency = 2 * np.pi / 16
    wave = 100 * np.tile(np.cos(np.arange(64) * frequency), (64, 1))
    result = dict(radiomics_images.filtered(wave, laplacian=True))
    for sigma in radiomics_images.SIGMAS:
        product = (sigma / 2 * frequency) ** 2
        centre = result[f"log-sigma-{sigma:g}"][32, 24:40]
        assert centre == pytest.approx(-product * math.exp(-product / 2) * wave[32, 24:40], abs=1.5)


def test_what_parts_us_from_pyradiomics_on_a_flat_background_is_the_bin_of_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = np.pad(picture(3), (30, 20))
    ours = features(image)
    assert any(abs(ours[name] / unrounded - 1) > 0.01 for name, (_, unrounded) in PEER_FLAT.items())
    monkeypatch.setattr(radiomics_images, "DIGITS", 6)
    rounded = features(image)
    for name, (peer, unrounded) in PEER_FLAT.items():
        assert rounded[name] == pytest.approx(peer, rel=1e-6), name
        assert abs(peer / unrounded - 1) > 0.01 or "Strength" in name, name


@pytest.mark.parametrize(
    ("image", "reason"),
    [(np.zeros((7, 30)), "7 x 30 pixels is too small"), (np.full((16, 16), np.nan), "NaN or infinite")],
)
def test_images_without_features_are_refused(image: NDArray[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        features(image)


@pytest.mark.parametrize(
    "image",
    [
        np.full((16, 16), 7),
        np.pad(np.full((1, 1), 255), 20),
        np.pad(picture(1)[10:20, 10:20], 15),
        np.indices((16, 16)).sum(0) % 2 * 255,
    ],
    ids=["constant", "one pixel", "flat background", "chequers"],
)
def test_odd_images_have_finite_features(image: NDArray[Any]) -> None:
    assert np.isfinite(list(features(image, laplacian=True).values())).all()


# the metric


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover(third_party=False)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    """Features of pictures 0 to 23."""
    return np.array([list(features(picture(k)).values()) for k in range(24)], np.float32)


@pytest.fixture
def frd(registry: Registry) -> Callable[..., Score]:
    def call(candidate: NDArray[Any], reference: NDArray[Any], **params: Any) -> Score:
        metric = registry.get("metric", "frd").create(registry.get("metric", "frd").complete(params))
        inputs = {"candidate": {"features": candidate}, "reference": {"features": reference}}
        score = metric.compute(MetricInputs(Task("t"), features=inputs), Context())
        assert isinstance(score, Score)
        return score

    return call


def test_frd_is_that_of_frd_score(frd: Callable[..., Score], rows: NDArray[np.float32]) -> None:
    values = (frd(rows[12:], rows[:12]).value, frd(rows[:12], rows[12:]).value)
    assert values == pytest.approx(PEER_FRD_WITHOUT_NOISE, abs=1e-5)
    assert values == pytest.approx(PEER_FRD, abs=0.006)


def test_frd_is_log_of_the_squared_distance_and_half_of_it_on_paper(
    frd: Callable[..., Score], rows: NDArray[np.float32]
) -> None:
    # One feature that varies: distance of two Gaussians on a line, in the reference's (N) standard deviations.
    reference, candidate = rows[:6].copy(), rows[:6].copy()
    reference[:, 2:], candidate[:, 2:] = 5, 5
    reference[:, :2] = candidate[:, :2] = (0, 9)
    reference[:, 40] = (1, 3, 1, 3, 1, 3)
    candidate[:, 40] = (8, 10, 12, 8, 10, 12)
    mean = (10 - 2) / 1
    spread = math.sqrt(6 / 5) * (math.sqrt(16 / 6) - 1)
    value = frd(candidate, reference).value
    assert value == pytest.approx(math.log(mean**2 + spread**2))
    assert frd(candidate, reference, paper_log=True).value == pytest.approx(value / 2)


def test_features_constant_over_the_references_are_left_out(
    frd: Callable[..., Score], rows: NDArray[np.float32]
) -> None:
    changed = rows.copy()
    changed[:12, 50] = 0.1
    changed[12:, 50] = 1e6
    kept = np.delete(changed, 50, axis=1)
    assert frd(changed[12:], changed[:12]).value == pytest.approx(frd(kept[12:], kept[:12]).value)


def test_few_images_are_marked(frd: Callable[..., Score], rows: NDArray[np.float32]) -> None:
    two = frd(rows[12:14], rows[:2])
    assert math.isfinite(two.value)
    assert two.mark == "*"
    assert "equal number of images" in two.note


def test_resampling_computes_anew(frd: Callable[..., Score], registry: Registry, rows: NDArray[np.float32]) -> None:
    metric = registry.get("metric", "frd").create({"paper_log": False, "laplacian": False})
    inputs = {"candidate": {"features": rows[12:]}, "reference": {"features": rows[:12]}}
    measure = metric.resample(MetricInputs(Task("t"), features=inputs), Context())
    some, others = np.array([0, 2, 3, 7]), np.array([1, 4, 5, 9, 11])
    assert measure(None, None) == pytest.approx(frd(rows[12:], rows[:12]).value, rel=1e-5)
    assert measure(some, others) == pytest.approx(frd(rows[12:][some], rows[:12][others]).value, rel=1e-5)


def test_what_has_no_distance_says_why(frd: Callable[..., Score], rows: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match="minus infinity"):
        frd(rows[:5], rows[:5])
    with pytest.raises(DataError, match="at least two translated images; there is 1"):
        frd(rows[:1], rows[:5])
    with pytest.raises(DataError, match="all target images have the same radiomic features"):
        frd(rows[:5], rows[[7, 7, 7]])
    constant = rows[:5].copy()
    constant[2] = list(features(np.full((40, 40), 3)).values())
    with pytest.raises(DataError, match=r"1 of 5 target images have one value everywhere \(number 3\)"):
        frd(rows[5:], constant)
    broken = rows[:5].copy()
    broken[0, 30] = np.nan
    with pytest.raises(DataError, match="translated images hold NaN"):
        frd(broken, rows[5:])


def test_names_tell_the_conventions(registry: Registry) -> None:
    spec = registry.get("metric", "frd").spec
    assert isinstance(spec, mtbench.MetricSpec)
    for params, variant in (({}, ""), ({"paper_log": True, "laplacian": True}, "paper-log,laplacian")):
        complete = registry.get("metric", "frd").complete(params)
        assert spec.printed_variant(complete) == variant
        for need in spec.needs_for(complete):
            assert isinstance(need, mtbench.Features)
            assert need.params["laplacian"] is bool(params)
            registry.get("extractor", need.extractor).complete(need.params)


def test_two_folders(frd: Callable[..., Score], rows: NDArray[np.float32], tmp_path: Path) -> None:
    for name, numbers in (("a", range(6)), ("b", range(12, 18))):
        (tmp_path / name).mkdir()
        for k in numbers:
            Image.fromarray(picture(k)).save(tmp_path / name / f"{k:02}.png")
    (row,) = mtbench.score(tmp_path / "a", tmp_path / "b", metrics=["frd"], device="cpu")
    assert (row["metric"], row["extractor"], row["status"]) == ("frd", "radiomics", "measured")
    assert row["value"] == pytest.approx(frd(rows[:6], rows[12:18]).value, rel=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_installed_frd_score_agrees(frd: Callable[..., Score], rows: NDArray[np.float32], tmp_path: Path) -> None:
    pytest.importorskip("radiomics", reason="pyradiomics is not installed")
    peer = pytest.importorskip("frd_score.frd", reason="frd-score is not installed")
    for name, numbers in (("a", range(12)), ("b", range(12, 24))):
        (tmp_path / name).mkdir()
        for k in numbers:
            Image.fromarray(picture(k)).save(tmp_path / name / f"{k:02}.png")
    theirs = peer.compute_frd([str(tmp_path / "a"), str(tmp_path / "b")], num_workers=1)
    assert frd(rows[12:], rows[:12]).value == pytest.approx(theirs, abs=0.006)
