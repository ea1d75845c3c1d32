"""The translators that learn no network: identity, histogram matching, images made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.exposure import match_histograms

import mtbench
from mtbench.compute.context import Context
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registration

TASK = mtbench.Task("toy")


@pytest.fixture(scope="module")
def translators() -> dict[str, Registration]:
    registry = discover(third_party=False)
    return {name: registry.get("translator", name) for name in ("identity", "histogram", "precomputed")}


def image_set(images: Any, domain: Any) -> mtbench.ImageSet:
    slices = tuple(
        mtbench.Slice(f"p{n}/slice_{n}", f"p{n}", f"p{n}", n, file=f"raw/{n:03}.png") for n in range(len(images))
    )
    return mtbench.ImageSet(images, slices, None, TASK, domain, "train")


def batch_of(images: mtbench.ImageSet) -> mtbench.Batch:
    return mtbench.Batch(images.tensor(), images.slices)


@pytest.fixture(scope="module")
def source() -> mtbench.ImageSet:
    rng = np.random.default_rng(0)
    return image_set((rng.gamma(2.0, 30.0, (3, 40, 32))).clip(0, 255).astype(np.uint8), "source")


@pytest.fixture(scope="module")
def target() -> mtbench.ImageSet:
    rng = np.random.default_rng(1)
    return image_set((255 * rng.beta(4, 2, (5, 40, 32))).astype(np.uint8), "target")


def fitted(registration: Registration, target: mtbench.ImageSet, **params: Any) -> Any:
    translator = registration.create(params)
    translator.fit(mtbench.TrainingData(TASK, target_train=target), Context())
    return translator


def test_identity_changes_nothing(translators: dict[str, Registration], source: mtbench.ImageSet) -> None:
    batch = batch_of(source)
    assert torch.equal(translators["identity"].create({}).translate(batch, Context()), batch.source)


def test_histogram_matching_agrees_with_scikit_image(
    translators: dict[str, Registration], source: mtbench.ImageSet, target: mtbench.ImageSet
) -> None:
    """Each slice against the pooled pixels of the target's training slices.

    scikit-image puts a grey value at the upper end of its ranks, we at the middle; on 8-bit images the two agree to
    one grey level for nearly all pixels. In the sparse tail of the target one rank more or less is several levels.
    """
    output = fitted(translators["histogram"], target, levels=4096).translate(batch_of(source), Context()).numpy()[:, 0]
    pooled = target.images.reshape(1, -1)
    for ours, image in zip(255 * output, source.images, strict=True):
        theirs = match_histograms(image.reshape(1, -1), pooled).reshape(image.shape)
        difference = np.abs(ours - theirs)
        assert np.median(difference) < 0.6
        assert np.percentile(difference, 90) < 1.5
        assert difference.max() < 16
        # What matching is for: the distribution is the target's.
        quantiles = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(np.quantile(ours, quantiles), np.quantile(pooled, quantiles), atol=2.5)


def test_histogram_keeps_order_ties_and_range(
    translators: dict[str, Registration], source: mtbench.ImageSet, target: mtbench.ImageSet
) -> None:
    output = fitted(translators["histogram"], target, levels=64).translate(batch_of(source), Context()).numpy()[:, 0]
    assert output.dtype == np.float32
    assert 0 <= output.min() <= output.max() <= 1
    for ours, image in zip(output, source.images, strict=True):
        by_value = [ours[image == value] for value in np.unique(image)]
        assert all(np.ptp(group) == 0 for group in by_value)
        assert (np.diff([group[0] for group in by_value]) >= 0).all()


def test_histogram_of_constant_images(translators: dict[str, Registration], target: mtbench.ImageSet) -> None:
    flat = image_set(np.full((2, 8, 8), 7, np.uint8), "source")
    output = fitted(translators["histogram"], target, levels=64).translate(batch_of(flat), Context())
    assert torch.isfinite(output).all()
    onto = fitted(translators["histogram"], flat, levels=64).translate(batch_of(target), Context())
    np.testing.assert_allclose(onto.numpy(), 7 / 255, atol=1e-6)


def test_histogram_is_saved_and_loaded(
    translators: dict[str, Registration], source: mtbench.ImageSet, target: mtbench.ImageSet, tmp_path: Path
) -> None:
    translator = fitted(translators["histogram"], target, levels=64)
    translator.save(tmp_path)
    again = translators["histogram"].create({"levels": 64})
    again.load(tmp_path)
    batch = batch_of(source)
    assert torch.equal(translator.translate(batch, Context()), again.translate(batch, Context()))


def precomputed(translators: dict[str, Registration], folder: Path | None, source: mtbench.ImageSet) -> Any:
    registration = translators["precomputed"]
    model: Any = registration.create(registration.complete({} if folder is None else {"folder": str(folder)}))
    return np.stack(list(model.translate_all(source, Context())))


@pytest.mark.parametrize("naming", ["p{n}/slice_{n}", "p{n}_slice_{n}", "{n:03}"])
@pytest.mark.parametrize("ending", [".png", ".npy", ".tif"])
def test_precomputed_finds_images_by_slice_or_by_file(
    naming: str, ending: str, translators: dict[str, Registration], source: mtbench.ImageSet, tmp_path: Path
) -> None:
    output = 255 - np.asarray(source.images)
    for n, image in enumerate(output):
        path = tmp_path / (naming.format(n=n) + ending)
        path.parent.mkdir(exist_ok=True)
        if ending == ".npy":
            np.save(path, image / np.float32(255))
        else:
            Image.fromarray(image).save(path)
    result = precomputed(translators, tmp_path, source)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, output / 255, atol=1e-6)


def test_precomputed_reads_sixteen_bits(
    translators: dict[str, Registration], source: mtbench.ImageSet, tmp_path: Path
) -> None:
    for n, image in enumerate(source.images):
        Image.fromarray(image.astype(np.uint16) * 257).save(tmp_path / f"{n:03}.png")
    result = precomputed(translators, tmp_path, source)
    np.testing.assert_allclose(result, source.images / 255, atol=1e-6)


def test_precomputed_tells_what_is_wrong(
    translators: dict[str, Registration], source: mtbench.ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(mtbench.DataError, match=r"no folder is set.*precomputed:folder=PATH"):
        precomputed(translators, None, source)
    with pytest.raises(mtbench.DataError, match="holds no image"):
        precomputed(translators, tmp_path, source)
    with pytest.raises(mtbench.DataError, match="this folder does not exist"):
        precomputed(translators, tmp_path / "none", source)


def test_precomputed_images_that_change_are_translated_again(tmp_path: Path, toys: Path, run_cli: Any) -> None:
    """A whole run: what the folder holds is part of what is asked."""
    folder = tmp_path / "made"
    folder.mkdir()
    for patient in range(6):
        for index in range(2):
            Image.fromarray(np.full((16, 16), 100, np.uint8)).save(folder / f"s{patient}-{index}.png")
    (tmp_path / "suite.toml").write_text("datasets = ['toy']\ntranslators = ['toy-same']\nmetrics = ['toy-mean']")
    command = ["run", "suite.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline"]
    command += ["-t", "precomputed:made"]

    def value() -> float:
        ran = run_cli(*command)
        assert ran.code == 0, ran.err
        rows = mtbench.load(tmp_path / "mtbench-results" / "suite").to_pylist()
        (row,) = [r for r in rows if r["translator"] == "precomputed"]
        return float(row["value"])

    assert value() == pytest.approx(100 / 255)
    for path in folder.iterdir():
        Image.fromarray(np.full((16, 16), 200, np.uint8)).save(path)
    assert value() == pytest.approx(200 / 255)
