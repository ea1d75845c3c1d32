"""The operators of ``mtbench stress``, against values that are computed here in another way."""

from __future__ import annotations

import numpy as np
import pytest

from mtbench.compute.seeds import generator
from mtbench.errors import DataError, RequestError
from mtbench.stress.operators import LEVELS, OPERATORS, Operator, choose
from mtbench.stress.pixels import Pixels

SLICEWISE = [operator for operator in OPERATORS.values() if operator.of_slice]
SIZE = (64, 80)


def blocks() -> Pixels:
    """Three bright blocks of label 1 and a disc of label 2 on a grey ground, 2 mm by 1 mm pixels."""
    mask = np.zeros(SIZE, np.uint8)
    for top in (6, 22, 38):
        mask[top : top + 12, 20:36] = 1
    rows, columns = np.indices(SIZE)
    mask[(rows - 30) ** 2 + (columns - 58) ** 2 < 64] = 2
    grey = np.array([0.3, 0.8, 0.55], np.float32)
    return Pixels(grey[mask][None], mask, (2.0, 1.0))


def apply(operator: Operator, strength: float, pixels: Pixels | None = None, seed: int = 1) -> Pixels:
    assert operator.of_slice is not None
    return operator.of_slice(pixels or blocks(), strength, generator("test", seed))


def of(name: str, strength: float, pixels: Pixels | None = None, seed: int = 1) -> Pixels:
    return apply(OPERATORS[name], strength, pixels, seed)


@pytest.mark.parametrize("operator", SLICEWISE, ids=lambda operator: operator.name)
def test_strength_zero_changes_nothing(operator: Operator) -> None:
    result = apply(operator, 0.0)
    np.testing.assert_allclose(result.image, blocks().image, atol=1e-6)
    np.testing.assert_array_equal(result.mask, blocks().mask)
    assert result.displacement == 0


@pytest.mark.parametrize("operator", SLICEWISE, ids=lambda operator: operator.name)
def test_the_seed_decides_and_more_strength_does_more(operator: Operator) -> None:
    levels = [apply(operator, strength, seed=1) for strength in operator.strengths(5, 40)]
    again = [apply(operator, strength, seed=1) for strength in operator.strengths(5, 40)]
    for one, other in zip(levels, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.image.dtype == np.float32
        assert np.isfinite(one.image).all()
        assert one.mask is not None
        assert one.mask.dtype == np.uint8
        assert set(np.unique(one.mask)) <= {0, 1, 2}
    assert not np.array_equal(levels[-1].image, blocks().image)
    assert np.abs(levels[-1].image - blocks().image).sum() >= 0.9 * np.abs(levels[0].image - blocks().image).sum()


@pytest.mark.parametrize("operator", SLICEWISE, ids=lambda operator: operator.name)
def test_masks_move_with_the_image_and_with_nothing_else(operator: Operator) -> None:
    result, before = apply(operator, operator.strengths(5, 40)[4 if operator.name == "fill" else 2]), blocks()
    assert result.mask is not None
    if operator.effect == "image_only":
        np.testing.assert_array_equal(result.mask, before.mask)
        assert result.displacement == 0
        return
    assert not np.array_equal(result.mask, before.mask) or operator.name == "flip"
    # The grey value tells the label: it must do so afterwards, but where two tissues mix or a lesion covers them.
    nearest = np.abs(result.image[0][..., None] - np.array([0.3, 0.8, 0.55])).argmin(-1)
    assert (nearest == result.mask).mean() > 0.93


def test_simple_operators_are_their_formulas() -> None:
    image = blocks().image
    np.testing.assert_allclose(of("gain", 0.3).image, 0.7 * image, rtol=1e-6)
    np.testing.assert_allclose(of("offset", 0.1).image, image + 0.1, rtol=1e-6)
    np.testing.assert_allclose(of("contrast", 0.75).image, 0.375 + image / 4, rtol=1e-6)
    np.testing.assert_allclose(of("gamma-up", 1.0).image, image**2, rtol=1e-5)
    np.testing.assert_allclose(of("gamma-down", 1.0).image, np.sqrt(image), rtol=1e-5)
    np.testing.assert_allclose(of("invert", 1.0).image, 1 - image, rtol=1e-6)
    np.testing.assert_allclose(of("invert", 0.3).image[0], np.choose(blocks().mask, [0.3, 0.2, 0.55]), rtol=1e-5)


def test_noise_has_its_standard_deviation() -> None:
    assert (of("noise", 0.1).image - blocks().image).std() == pytest.approx(0.1, rel=0.03)


def test_blur_spreads_a_point_by_its_variance() -> None:
    point = np.zeros((1, 41, 41), np.float32)
    point[0, 20, 20] = 1
    spread = of("blur", 2.0, Pixels(point)).image[0]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(1) * (np.arange(41) - 20) ** 2).sum() == pytest.approx(4, rel=0.02)


def test_bias_field_is_a_smooth_gain_around_one() -> None:
    flat = Pixels(np.full((1, 60, 60), 0.5, np.float32))
    field = of("bias-field", 0.4, flat).image[0] / 0.5
    assert field.mean() == pytest.approx(1, abs=1e-5)
    assert np.abs(field - 1).max() == pytest.approx(0.4, rel=1e-4)
    assert np.abs(np.diff(field, axis=0)).max() < 0.1


def test_stripes_are_one_wave_of_the_amplitude() -> None:
    wave = of("stripes", 0.1, Pixels(np.zeros((1, 200, 200), np.float32))).image[0]
    assert wave.std() == pytest.approx(0.1 / np.sqrt(2), rel=0.02)
    spectrum = np.sort((np.abs(np.fft.fft2(wave)) ** 2).ravel())[::-1]
    assert spectrum[:18].sum() > 0.75 * spectrum.sum()


def test_ringing_keeps_the_mean_and_no_high_frequency() -> None:
    image = of("ringing", 0.5).image[0]
    assert image.mean() == pytest.approx(blocks().image.mean(), abs=1e-6)
    assert np.abs(np.fft.fft2(image)[17:48]).max() < 1e-3
    assert image.max() > 0.81


def test_ghosting_repeats_the_slice_a_quarter_of_its_height_away() -> None:
    point = np.zeros((1, 64, 64), np.float32)
    point[0, 10, 30] = 1
    column = of("ghosting", 1.0, Pixels(point)).image[0, :, 30]
    assert {int(i) for i in np.argsort(np.abs(column))[-4:]} == {10, 26, 42, 58}


def test_jpeg_rounds_cosine_coefficients() -> None:
    ramp = np.tile(np.linspace(0.2, 0.8, 8, dtype=np.float32), (8, 1))
    frequencies = np.cos(np.pi * (np.arange(8)[None] + 0.5) * np.arange(8)[:, None] / 8) * np.sqrt(2 / 8)
    frequencies[0] /= np.sqrt(2)
    coefficients = frequencies @ (ramp * 255.0 - 128) @ frequencies.T
    first_row = np.array([16, 11, 10, 16, 24, 40, 51, 61])
    kept = np.zeros((8, 8))
    kept[0] = np.rint(coefficients[0] / first_row) * first_row
    expected = (frequencies.T @ kept @ frequencies + 128) / 255
    np.testing.assert_allclose(of("jpeg", 1.0, Pixels(ramp[None])).image[0], expected, atol=1e-5)


def test_quantise_keeps_eight_bits_and_halves_them() -> None:
    grey = (np.arange(256, dtype=np.float32) / 255).reshape(1, 16, 16)
    assert np.abs(of("quantise", 1e-9, Pixels(grey)).image - grey).max() < 1e-6
    coarse = of("quantise", 6.0, Pixels(grey)).image
    assert np.unique(coarse).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert np.abs(coarse - grey).max() == pytest.approx(1 / 6, abs=1 / 255)


def test_resample_keeps_a_ramp_and_loses_a_grid() -> None:
    ramp = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (40, 1))[None]
    assert np.abs(of("resample", 1.0, Pixels(ramp)).image - ramp)[..., 4:-4].max() < 0.01
    grid = (np.indices((40, 40)).sum(0) % 2).astype(np.float32)[None]
    assert of("resample", 3.0, Pixels(grid)).image.std() < 0.1


def test_shift_moves_by_its_millimetres() -> None:
    pixels = blocks()
    moved = of("shift", 4.0)
    assert moved.displacement == pytest.approx(4)
    assert moved.mask is not None
    assert pixels.mask is not None
    before, after = (np.argwhere(mask == 2).mean(0) * (2, 1) for mask in (pixels.mask, moved.mask))
    assert np.hypot(*(after - before)) == pytest.approx(4, abs=0.7)


def test_deformations_state_their_mean_displacement() -> None:
    whole, local = of("deform", 6.0), of("drag", 6.0)
    assert 1 < whole.displacement < 6 * np.sqrt(2)
    assert 0 < local.displacement < whole.displacement


def test_flip_flips_a_share_of_the_slices() -> None:
    flipped = of("flip", 1.0)
    np.testing.assert_array_equal(flipped.image, blocks().image[..., ::-1])
    changed = [not np.array_equal(of("flip", 0.4, seed=i).image, blocks().image) for i in range(200)]
    assert np.mean(changed) == pytest.approx(0.4, abs=0.1)


def test_mirror_reflects_the_upper_half() -> None:
    np.testing.assert_array_equal(of("mirror", 1.0).image[:, 32:], blocks().image[:, :32][:, ::-1])


def test_a_lesion_covers_its_area_and_no_label() -> None:
    pixels = Pixels(np.full((1, 80, 80), 0.4, np.float32), np.ones((80, 80), np.uint8))
    result = of("lesion", 7.0, pixels)
    assert result.mask is not None
    assert (result.mask == 0).sum() == pytest.approx(np.pi * 49, rel=0.05)
    assert np.abs(result.image - 0.4).max() == pytest.approx(0.35, abs=1e-5)


def test_structures_are_removed_copied_moved_enlarged_and_joined() -> None:
    area = {1: 3 * 12 * 16, 2: int((blocks().mask == 2).sum())}

    def areas(result: Pixels) -> dict[int, int]:
        assert result.mask is not None
        return {label: int((result.mask == label).sum()) for label in (1, 2)}

    lost = {label: area[label] - now for label, now in areas(of("remove", 0.5)).items()}
    assert sorted(lost.values()) in ([0, 96], [0, round(area[2] / 2)])
    gained = {label: now - area[label] for label, now in areas(of("duplicate", 1.0)).items()}
    assert max(gained.values()) in (192, area[2])
    assert sum(areas(of("move", 8.0)).values()) == pytest.approx(sum(area.values()), rel=0.1)
    grown = {label: now / area[label] for label, now in areas(of("enlarge", 0.5)).items()}
    assert max(grown.values()) > 1.2
    seeds = [areas(of("fill", 7.0, seed=i))[1] for i in range(8)]
    # The two gaps between the blocks are four rows of 2 mm high.
    assert max(seeds) == pytest.approx(area[1] + 2 * 4 * 16, rel=0.05)


def test_a_slice_without_labels_keeps_its_structures() -> None:
    bare = Pixels(blocks().image, np.zeros(SIZE, np.uint8))
    for name in ("remove", "duplicate", "enlarge", "move", "fill"):
        assert of(name, OPERATORS[name].strongest, bare) is bare


CANDIDATES = np.random.default_rng(0).uniform(size=(20, 1, 32, 32)).astype(np.float32)
TRAINING = np.random.default_rng(1).uniform(size=(30, 1, 32, 32)).astype(np.float32)


def shown(name: str, strength: float, training: np.ndarray = TRAINING) -> list[int]:
    function = OPERATORS[name].of_set
    assert function is not None
    return [int(i) for i in function(CANDIDATES, training, strength, generator("test"))]


def test_set_operators_choose_what_they_say() -> None:
    for name in ("shuffle", "other-patients", "memorised", "collapse"):
        assert shown(name, 0.0) == list(range(20))
    assert sorted(shown("shuffle", 1.0)) == list(range(20))
    assert sum(a != b for a, b in enumerate(shown("shuffle", 1.0))) == 20
    others = [i for i in shown("other-patients", 0.5) if i >= 20]
    assert len(others) == len(set(others)) == 10
    assert len(set(shown("collapse", 4.0))) == 4
    assert len(set(shown("collapse", 20.0))) == 20


def test_memorised_shows_the_most_similar_training_slice() -> None:
    rng = np.random.default_rng(2)
    training = np.concatenate([TRAINING, CANDIDATES + rng.normal(0, 0.01, CANDIDATES.shape)]).astype(np.float32)
    assert shown("memorised", 1.0, training) == [20 + 30 + i for i in range(20)]


def test_sets_that_are_too_small_are_refused() -> None:
    with pytest.raises(DataError, match="collapse to 21 images was asked for, and there are 20"):
        shown("collapse", 21.0)
    with pytest.raises(DataError, match="20 candidates are to be replaced, and there are 5"):
        shown("other-patients", 1.0, TRAINING[:5])
    with pytest.raises(DataError, match="no target training slices"):
        shown("memorised", 1.0, TRAINING[:0])


def test_series_rise_and_are_checked() -> None:
    for operator in OPERATORS.values():
        for levels in LEVELS:
            strengths = operator.strengths(levels, 100)
            assert len(strengths) == levels
            assert list(strengths) == sorted(strengths, reverse=operator.name == "collapse")
    assert choose(["noise=0.1,0.3"], 5, 100)[0].strengths == (0.1, 0.3)
    assert len(choose([], 5, 100)) == len(OPERATORS)
    for call, message in (
        ("nois", "Did you mean 'noise'"),
        ("noise=0.3,0.1", "rising numbers"),
        ("noise=a", "cannot be used"),
        ("collapse=4,8", "falling whole numbers"),
        ("flip=2", "is no share"),
    ):
        with pytest.raises(RequestError, match=message):
            choose([call], 5, 100)
