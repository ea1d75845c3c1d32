"""MAE, PSNR, SSIM and MS-SSIM against scikit-image, a second reading of MS-SSIM, and a challenge's own figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mtbench import DataError, ImageSet, MetricInputs, Slice, Task
from mtbench.compute.context import Context
from mtbench.data import encode
from mtbench.registry.params import complete
from mtbench_plugins.metrics import challenge
from mtbench_plugins.metrics import paired as paired_spec
from mtbench_plugins.metrics.paired_metrics import Mae, MsSsim, Psnr, Ssim, largest_part

HU = (-1000.0, 1000.0)


def smooth(n: int, size: int, seed: int) -> NDArray[np.float32]:
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 1, size, size)))
    soft = torch.nn.functional.avg_pool2d(noise, 7, 1, 3).numpy()[:, 0]
    return np.clip(0.5 + soft, 0, 1).astype(np.float32)


def pair(n: int = 4, size: int = 64, noise: float = 0.08) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    truth = smooth(n, size, 0)
    image = np.clip(truth + noise * np.random.default_rng(1).normal(size=truth.shape), 0, 1)
    return image.astype(np.float32), truth


def inputs(
    image: NDArray[Any],
    truth: NDArray[Any],
    window: tuple[float, float] | None = None,
    masks: NDArray[Any] | None = None,
    per_patient: int = 1,
    gap: int = 1,
) -> MetricInputs:
    slices = tuple(
        Slice(f"s{i}", f"p{i // per_patient}", "c", gap * i, window=window, measure_unit="HU" if window else "")
        for i in range(len(truth))
    )
    task = Task("toy", paired=True)
    candidate = ImageSet(image, slices, None, task, "source", "test")
    return MetricInputs(task, candidate, paired=ImageSet(truth, slices, masks, task, "paired", "test"))


def test_against_scikit_image() -> None:
    image, truth = pair()
    metric_inputs = inputs(image, truth)
    ranges = {"data_range": 1.0}
    doubles = list(zip(image.astype(float), truth.astype(float), strict=True))
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = {
        Mae: [np.abs(f - t).mean() for f, t in doubles],
        Psnr: [peak_signal_noise_ratio(t, f, **ranges) for f, t in doubles],
        Ssim: [structural_similarity(t, f, **gauss, **ranges) for f, t in doubles],
    }
    for metric, values in expected.items():
        score = metric().compute(metric_inputs, Context())
        assert score.cases is not None
        np.testing.assert_allclose(score.cases.values, values, rtol=1e-9)
        assert score.value == pytest.approx(np.mean(values))
        assert score.note == "in stored values, 0 to 1; data range 0 to 1"


def test_in_the_own_unit() -> None:
    image, truth = pair()
    in_hu, plain = inputs(image, truth, HU), inputs(image, truth)
    mae = Mae().compute(in_hu, Context())
    assert mae.value == pytest.approx(2000 * Mae().compute(plain, Context()).value)
    assert mae.note == "in HU; data range -1000 to 1000"
    # The range of the window: ratios are what they were.
    for metric in (Psnr(), Ssim()):
        value = metric.compute(plain, Context()).value
        assert metric.compute(in_hu, Context()).value == pytest.approx(value)
    wider = Psnr(high=3000.0).compute(in_hu, Context())
    assert wider.value == pytest.approx(Psnr().compute(in_hu, Context()).value + 20 * np.log10(2))
    narrow = Mae(low=-100.0, high=100.0).compute(in_hu, Context())
    clipped = [np.clip(x.astype(float) * 2000 - 1000, -100, 100) for x in (image, truth)]
    assert narrow.value == pytest.approx(np.abs(clipped[0] - clipped[1]).mean())


def plain_ms_ssim(first: NDArray[Any], second: NDArray[Any], scales: int) -> float:
    """MS-SSIM by torch convolutions with an 11 x 11 window, valid positions only; the rest as in Wang's msssim.m."""
    line = torch.exp(-0.5 * (torch.arange(-5, 6, dtype=torch.float64) / 1.5) ** 2)
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    weights = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333], dtype=torch.float64)[:scales]
    x, y = (torch.from_numpy(v.astype(float))[None, None] for v in (first, second))
    value = torch.ones(())
    # At five scales the weights are those printed, whose sum is 1.0001.
    for scale, weight in enumerate(weights if scales == 5 else weights / weights.sum()):

        def local(v: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.conv2d(v, window)

        mx, my = local(x), local(y)
        sxx, syy, sxy = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
        cs = (2 * sxy + 0.0009) / (sxx + syy + 0.0009)
        if scale == scales - 1:
            cs = cs * (2 * mx * my + 0.0001) / (mx * mx + my * my + 0.0001)
        value = value * cs.mean().clamp_min(0) ** weight
        odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        x, y = (torch.nn.functional.avg_pool2d(torch.nn.functional.pad(v, odd, "replicate"), 2) for v in (x, y))
    return float(value)


@pytest.mark.parametrize(("size", "scales"), [(176, 5), (191, 5), (64, 3), (32, 1)])
def test_ms_ssim_against_a_second_reading(size: int, scales: int) -> None:
    image, truth = pair(2, size, 0.2)
    score = MsSsim(scales=scales).compute(inputs(image, truth), Context())
    expected = [plain_ms_ssim(f, t, scales) for f, t in zip(image, truth, strict=True)]
    assert score.cases is not None
    np.testing.assert_allclose(score.cases.values, expected, rtol=1e-9)
    assert 0.2 < score.value < 0.99


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
def test_ms_ssim_is_monais() -> None:
    from monai.metrics.regression import compute_ms_ssim

    image, truth = pair(2, 176, 0.2)
    score = MsSsim().compute(inputs(image, truth), Context())
    doubles = [torch.from_numpy(v.astype(float))[:, None] for v in (image, truth)]
    theirs = compute_ms_ssim(*doubles, 2, data_range=1.0, kernel_size=[11] * 2, kernel_sigma=[1.5] * 2)
    assert score.cases is not None
    # Its weights are in float32; with weights divided by their sum the values would differ by 2e-5.
    np.testing.assert_allclose(score.cases.values, theirs[:, 0].numpy(), rtol=1e-6)


def test_inside_a_body() -> None:
    image, truth = pair()
    masks = np.zeros(truth.shape, np.uint8)
    masks[:3, 20:50, 10:40] = 3
    metric_inputs = inputs(image, truth, HU, masks)
    score = Mae(body="masks").compute(metric_inputs, Context())
    assert score.cases is not None
    errors = 2000 * np.abs(image.astype(float) - truth)[:, 20:50, 10:40].mean(axis=(1, 2))
    np.testing.assert_allclose(score.cases.values, [*errors[:3], np.nan])
    assert score.note.endswith("1 of 4 cases have no body")
    changed = image.copy()
    changed[:, :5] = 0
    for metric in (Mae(body="masks"), Psnr(body="masks"), Ssim(body="masks")):
        assert metric.compute(inputs(changed, truth, HU, masks), Context()).value == pytest.approx(
            metric.compute(metric_inputs, Context()).value
        )
    with pytest.raises(DataError, match="needs masks of the truth"):
        Mae(body="masks").compute(inputs(image, truth), Context())


def test_threshold_finds_the_largest_part_and_fills_it() -> None:
    mask = np.zeros((20, 20), bool)
    mask[4:14, 4:14] = True
    mask[8:10, 8:10] = False
    mask[17, 17] = True
    body = largest_part(mask)
    assert body.sum() == 100
    assert not largest_part(np.zeros((3, 3), bool)).any()
    truth = np.where(mask, 0.9, 0.1)[None].astype(np.float32)
    image = truth.copy()
    image[0, 8, 8] = 0.2
    score = Mae(body="threshold", threshold=0.5).compute(inputs(image, truth), Context())
    assert score.value == pytest.approx(0.1 / 100, rel=1e-5)


def test_per_patient_takes_the_volume_as_one() -> None:
    image, truth = pair(6)
    score = Psnr(per="patient").compute(inputs(image, truth, per_patient=3), Context())
    assert score.cases is not None
    assert score.cases.ids == ("p0", "p1")
    errors = np.square(image.astype(float) - truth).reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(score.cases.values, -10 * np.log10(errors))


def test_identical_images() -> None:
    _, truth = pair()
    stored = encode(truth, "uint8")
    metric_inputs = inputs(stored, stored)
    assert Psnr().compute(metric_inputs, Context()).value == 100.0
    assert Mae().compute(metric_inputs, Context()).value == 0.0
    assert Ssim().compute(metric_inputs, Context()).value == pytest.approx(1.0)
    assert MsSsim(scales=2).compute(metric_inputs, Context()).value == pytest.approx(1.0)


def volume() -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """CT-like: HU, a body, a bone that the translation makes too soft, noise."""
    z, y, x = np.mgrid[-1:1:24j, -1:1:112j, -1:1:100j]
    body = (y / 0.8) ** 2 + (x / 0.9) ** 2 < 1
    bone = (y / 0.2) ** 2 + ((x - 0.1) / 0.25) ** 2 < 1
    tissue = 40 + 60 * np.sin(6 * x + 3 * z) * np.cos(5 * y)
    truth = np.where(body, tissue, -1000) + np.where(bone, 900, 0)
    wrong = np.where(bone, -150, 0) + np.where(body, 30 * np.sin(4 * z), 0)
    image = truth + np.random.default_rng(2025).normal(0, 40, truth.shape) + wrong
    truth, image = (np.clip(np.rint(v), -1024, 3071) for v in (truth, image))
    return image, truth, body


EXPECTED = {"mae": 43.7085081773187, "psnr": 36.734379398304824, "ms-ssim": 0.9872694006224061}
"""What the challenge's own evaluation code gives for :func:`volume`."""


def test_preset_gives_the_figures_of_the_challenge() -> None:
    image, truth, body = volume()
    assert challenge.mae(image, truth, body) == pytest.approx(EXPECTED["mae"], rel=1e-12)
    assert challenge.psnr(image, truth, body) == pytest.approx(EXPECTED["psnr"], rel=1e-12)
    assert challenge.ms_ssim(image, truth, body) == pytest.approx(EXPECTED["ms-ssim"], rel=1e-9)
    # The same through stored slices, rounded to 1/16 HU.
    stored = [encode((v + 1024) / 4095, "uint16") for v in (image, truth)]
    metric_inputs = inputs(stored[0], stored[1], (-1024.0, 3071.0), body.astype(np.uint8), per_patient=24)
    for metric in (Mae(preset="synthrad2025-image"), Psnr(preset="synthrad2025-image")):
        score = metric.compute(metric_inputs, Context())
        assert score.value == pytest.approx(EXPECTED[metric.name], rel=1e-3)
        assert score.note == "in HU; data range -1024 to 3071"
    score = MsSsim(preset="synthrad2025-image").compute(metric_inputs, Context())
    assert score.value == pytest.approx(EXPECTED["ms-ssim"], rel=1e-5)


def test_preset_refuses_what_it_is_not_for() -> None:
    image, truth = pair()
    with pytest.raises(DataError, match=r"no unit.*CT in HU"):
        Mae(preset="synthrad2025-image").compute(inputs(image, truth), Context())
    with pytest.raises(DataError, match="without gaps"):
        Mae(preset="synthrad2025-image").compute(inputs(image, truth, HU, per_patient=4, gap=2), Context())


def test_bad_input() -> None:
    image, truth = pair(size=64)
    with pytest.raises(DataError, match="sides of at least 176"):
        MsSsim().compute(inputs(image, truth), Context())
    fewer = MetricInputs(Task("toy"), inputs(image, truth).candidate, paired=inputs(truth[:3], truth[:3]).paired)
    with pytest.raises(DataError, match="same size for every slice"):
        Mae().compute(fewer, Context())
    with pytest.raises(DataError, match="low below high"):
        Psnr(low=2.0).compute(inputs(image, truth), Context())


def test_specs() -> None:
    specs = {spec.name: spec for spec in paired_spec.mtbench_metrics()}
    assert sorted(specs) == ["mae", "ms-ssim", "psnr", "ssim"]
    classes = {"mae": Mae, "psnr": Psnr, "ssim": Ssim, "ms-ssim": MsSsim}
    for name, spec in specs.items():
        defaults = complete({}, spec.params, name)
        assert spec.printed_variant(defaults) == ""
        assert classes[name](**defaults) == classes[name]()
        assert spec.printed_variant({**defaults, "body": "threshold", "low": 0.0}) == "body>-500,0.."
    mae = complete({"preset": "synthrad2025-image"}, specs["mae"].params, "mae")
    assert specs["mae"].printed_variant(mae) == "synthrad2025-image"
