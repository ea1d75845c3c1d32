"""The trained translators in training and translation, small."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mtbench import Batch, DataError, ImageSet, Slice, Task, TrainingData
from mtbench.compute.checkpoints import Checkpoints
from mtbench.compute.context import Context
from mtbench.compute.kept import KeptCheckpoints
from mtbench.errors import ParamError, TrainingError
from mtbench.registry.params import complete
from mtbench.registry.specs import TranslatorSpec
from mtbench_plugins.translators._shared.contrast import PatchProjection, draw_positions
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.cut.losses import Contrast
from mtbench_plugins.translators.maskgan.masks import backgrounds, positions
from mtbench_plugins.translators.maskgan.model import LikePosition
from mtbench_plugins.translators.spade.labels import Labels

SMALL: dict[str, dict[str, Any]] = {
    "cyclegan": {"ngf": 4, "n_blocks": 1, "ndf": 4},
    "maskgan": {"ngf": 4, "n_blocks": 1, "ndf": 4, "n_attentions": 3, "batch_size": 2},
    "unsb": {"ngf": 4, "n_blocks": 1, "ndf": 4, "netF_nc": 8, "num_patches": 16},
    "spade": {"ngf": 2, "ndf": 4, "nhidden": 8},
    "cut": {"ngf": 2, "n_blocks": 1, "ndf": 2, "netF_nc": 4, "num_patches": 8, "nce_layers": [0, 8]},
    "pix2pix": {"ngf": 4, "ndf": 4},
    "regression-unet": {"width": 4, "levels": 3},
    "contourdiff": {"width": 4, "levels": 2, "denoise_step": 2, "warmup": 0},
}
PAIRED = ("pix2pix", "regression-unet")
TASK = Task("toy", labels={1: "disc"}, masks=frozenset({"source", "target"}), paired=True, paired_training=True)


def spec(name: str) -> TranslatorSpec:
    module = import_module(f"mtbench_plugins.translators.{name.removeprefix('fast').replace('-', '_')}")
    (entry,) = (each for each in module.mtbench_translators() if each.name == name)
    assert isinstance(entry, TranslatorSpec)
    return entry


def translator(name: str, **fields: Any) -> Any:
    module, _, attribute = spec(name).factory.partition(":")
    params = complete({**SMALL[name.removeprefix("fast")], **fields}, spec(name).params, name)
    return getattr(import_module(module), attribute)(**params)


def size(name: str) -> int:
    return 64 if name == "spade" else 32


def images(domain: Any, n: int, side: int, seed: int = 0, split: Any = "train") -> ImageSet:
    """Discs, bright in the source and dim in the target, on a noisy background."""
    rng = np.random.default_rng([seed, len("source" if domain == "paired" else domain)])
    rows, columns = np.mgrid[:side, :side]
    stored, masks = [], []
    for _ in range(n):
        (row, column), radius = rng.uniform(0.4, 0.6, 2) * side, rng.uniform(0.2, 0.3) * side
        mask = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        stored.append(np.where(mask, 200 if domain == "source" else 90, 0) + rng.integers(0, 8, mask.shape))
        masks.append(mask)
    slices = tuple(Slice(f"{split}{i}", f"p{i // 2}", f"c{i // 2}", i % 2) for i in range(n))
    return ImageSet(np.array(stored, dtype=np.uint8), slices, np.array(masks, dtype=np.uint8), TASK, domain, split)


def data(name: str, n: int = 4, side: int | None = None) -> TrainingData:
    side = side or size(name)
    other = "paired" if name in PAIRED else "target"
    sets = {}
    for domain in ("source", other):
        sets[f"{domain}_train"] = images(domain, n, side)
        sets[f"{domain}_validation"] = images(domain, 1, side, 1, "validation")
    return TrainingData(TASK, **sets)


def batch(side: int, n: int = 3) -> Batch:
    slices = images("source", n, side, 2, "test")
    return Batch(slices.tensor(), slices.slices, slices.mask_tensor())


def context(**fields: Any) -> Context:
    return Context(task=TASK, seed=5, **fields)


@pytest.fixture(scope="module", params=list(SMALL))
def fitted(request: pytest.FixtureRequest) -> Any:
    model = translator(request.param, steps=3)
    model.fit(data(request.param), context())
    return model


def test_a_few_steps_leave_finite_losses_and_images(fitted: Any) -> None:
    assert fitted.history.steps == 3
    names = {entry.name for entry in fitted.history.entries}
    assert (
        names
        == {
            "cyclegan": {"G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B", "D_A", "D_B"},
            "maskgan": {
                *("G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B", "D_A", "D_B"),
                *("maskA", "maskB", "shapeA", "shapeB"),
            },
            "unsb": {"D", "E", "G_GAN", "SB", "NCE", "NCE_Y"},
            "spade": {"GAN", "GAN_Feat", "D_Fake", "D_real"},
            "cut": {"D", "G_GAN", "NCE", "NCE_Y"},
            "pix2pix": {"D", "G_GAN", "G_L1"},
            "regression-unet": {"L1"},
            "contourdiff": {"noise"},
        }[fitted.name]
    )
    assert all(math.isfinite(entry.value) for entry in fitted.history.entries)
    assert len(fitted.history.samples) >= 2
    output = fitted.translate(batch(size(fitted.name)), context())
    assert output.shape == (3, 1, size(fitted.name), size(fitted.name))
    assert bool(((output >= 0) & (output <= 1)).all())


def test_save_and_load_give_identical_images(fitted: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    inputs = batch(size(fitted.name))
    expected = fitted.translate(inputs, context())
    again = translator(fitted.name)
    again.load(tmp_path)
    assert torch.equal(again.translate(inputs, context()), expected)
    assert (tmp_path / "losses.parquet").is_file()
    # What was trained is a file, or a folder, as the original writes it.
    official = translator(fitted.name, checkpoint=str(tmp_path / fitted.file))
    assert torch.equal(official.translate(inputs, context()), expected)


def test_a_slice_is_translated_alike_at_any_batch_size(fitted: Any) -> None:
    inputs = batch(size(fitted.name))
    together = fitted.translate(inputs, context())
    assert inputs.masks is not None
    for i in range(3):
        alone = Batch(inputs.source[i : i + 1], inputs.slices[i : i + 1], inputs.masks[i : i + 1])
        torch.testing.assert_close(fitted.translate(alone, context()), together[i : i + 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [(70, 66), (65, 64)])
def test_sizes_that_are_no_multiple_are_padded_and_cut_back(fitted: Any, side: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    source = torch.from_numpy(rng.random((1, 1, *side), dtype=np.float32))
    masks = torch.from_numpy(rng.integers(0, 2, (1, *side)))
    output = fitted.translate(Batch(source, (Slice("a", "p", "c"),), masks), context())
    assert output.shape == source.shape


def test_images_that_are_too_small_are_refused(fitted: Any) -> None:
    tiny = Batch(torch.rand(1, 1, 6, 40), (Slice("a", "p", "c"),), torch.zeros(1, 6, 40, dtype=torch.int64))
    with pytest.raises(DataError, match=f"6 x 40 are too small for {fitted.name}"):
        fitted.translate(tiny, context())


@pytest.mark.parametrize("name", SMALL)
def test_a_killed_fit_goes_on_to_the_same_weights(name: str, tmp_path: Path) -> None:
    whole, kept = translator(name, epochs=2, batch_size=1), KeptCheckpoints(tmp_path / "kept", 2)
    whole.fit(data(name, n=2), context(kept=kept))  # it keeps a checkpoint, and the resumed fit does not

    class KilledError(Exception):
        pass

    def kill(done: int, total: int, figures: Any) -> None:
        if done == 3:
            raise KilledError

    broken = context(checkpoints=Checkpoints(tmp_path, every_seconds=0), progress=kill)
    with pytest.raises(KilledError):
        translator(name, epochs=2, batch_size=1).fit(data(name, n=2), broken)
    resumed = translator(name, epochs=2, batch_size=1)
    resumed.fit(data(name, n=2), context(checkpoints=Checkpoints(tmp_path, every_seconds=0)))
    pairs = zip(whole.network.state_dict().items(), resumed.network.state_dict().items(), strict=True)
    assert [key for (key, a), (_, b) in pairs if not torch.equal(a, b)] == []
    half = translator(name)
    half.load(tmp_path / "kept" / "2")
    assert kept.steps() == {"2": 2, "1": 4}
    assert half.network.state_dict().keys() == whole.network.state_dict().keys()
    pairs = zip(whole.network.parameters(), half.network.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_a_fit_whose_process_is_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = translator("cyclegan", steps=6)
    whole.fit(data("cyclegan", n=2), context())
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_translator_training import Checkpoints, context, data, translator

def kill(done, total, figures):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

kept = Checkpoints(Path({str(tmp_path)!r}), every_seconds=0)
translator("cyclegan", steps=6).fit(data("cyclegan", n=2), context(checkpoints=kept, progress=kill))
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    resumed, seen = translator("cyclegan", steps=6), []
    kept = Checkpoints(tmp_path, every_seconds=0)
    resumed.fit(
        data("cyclegan", n=2), context(checkpoints=kept, progress=lambda done, total, figures: seen.append(done))
    )
    # The fourth step was done, but nobody had kept it.
    assert seen == [4, 5, 6]
    pairs = zip(whole.network.state_dict().items(), resumed.network.state_dict().items(), strict=True)
    assert [key for (key, a), (_, b) in pairs if not torch.equal(a, b)] == []


@pytest.mark.parametrize("name", ["cyclegan", "maskgan", "unsb"])
def test_masks_are_not_needed(name: str) -> None:
    bare = data(name, n=2)
    sides = {key: replace(value, masks=None) for key, value in vars(bare).items() if isinstance(value, ImageSet)}
    model = translator(name, steps=1)
    model.fit(replace(bare, **sides), context())
    inputs = batch(size(name), 1)
    assert model.translate(Batch(inputs.source, inputs.slices), context()).shape == inputs.source.shape


@pytest.mark.parametrize("name", SMALL)
def test_one_training_image_is_enough(name: str) -> None:
    model = translator(name, steps=1)
    model.fit(data(name, n=1), context())
    assert bool(torch.isfinite(model.translate(batch(size(name), 1), context())).all())


@pytest.mark.parametrize("name", SMALL)
def test_a_diverging_learning_rate_is_stopped(name: str) -> None:
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        translator(name, steps=60, lr=1e18).fit(data(name), context())


@pytest.mark.parametrize("name", ["cyclegan", "maskgan", "unsb", "cut", *PAIRED])
def test_three_channels_inside_are_one_outside(name: str) -> None:
    model = translator(name, steps=1, channels=3)
    model.fit(data(name, n=1), context())
    assert model.translate(batch(32, 1), context()).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("name", SMALL)
def test_half_precision_changes_little(name: str) -> None:
    model = translator(name, steps=1)
    model.fit(data(name, n=1), context(precision="bf16"))
    inputs = batch(size(name), 1)
    full, half = (model.translate(inputs, context(precision=p)) for p in ("fp32", "bf16"))
    torch.testing.assert_close(full, half, atol=0.05, rtol=0)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "contourdiff"])
def test_data_that_cannot_be_trained_on(name: str) -> None:
    with pytest.raises(DataError, match="at least"):
        translator(name, steps=1).fit(data(name, side=size(name) // 2), context())
    with pytest.raises(DataError, match="multiple of"):
        translator(name, steps=1, crop_size=size(name) - 1).fit(data(name, side=2 * size(name)), context())
    with pytest.raises(DataError):
        translator(name, steps=1).fit(TrainingData(TASK, source_train=images("source", 1, 64)), context())


def test_unsb_is_seeded_and_refuses_more_steps_than_it_has() -> None:
    model = translator("unsb", steps=2, time_conditioning="corrected", nce_layers=[0, 4, 99])
    model.fit(data("unsb"), context())
    inputs = batch(32)
    first = model.translate(inputs, context())
    assert torch.equal(first, model.translate(inputs, context()))
    assert not torch.equal(first, model.translate(inputs, Context(task=TASK, seed=6)))
    with pytest.raises(ParamError, match="nfe is 6"):
        translator("unsb", nfe=6)
    for name in ("unsb", "cut"):
        with pytest.raises(ParamError, match="nce_layers"):
            translator(name, nce_layers=[99])


def test_spade_refuses_labels_beyond_the_table() -> None:
    training = data("spade")
    assert training.target_train is not None
    assert training.target_train.masks is not None
    training.target_train.masks[training.target_train.masks == 1] = 255
    with pytest.raises(DataError, match=r"value 255.*black-and-white masks"):
        translator("spade", steps=1).fit(training, context())
    training.target_train.masks[training.target_train.masks == 255] = 3
    with pytest.raises(DataError, match=r"value 3.*label values 0, 1"):
        translator("spade", steps=1).fit(training, context())
    labels = Labels(TASK)
    with pytest.raises(DataError, match="source domain hold the value 300"):
        labels.one_hot(torch.tensor([[[0, 300]]]), "source")


def test_spade_takes_black_and_white_masks_whose_table_says_so() -> None:
    labels = Labels(Task("bones", labels={255: "bone"}))
    segmap = labels.one_hot(torch.tensor([[[0, 255]]]), "source")
    assert segmap.tolist() == [[[[1.0, 0.0]], [[0.0, 1.0]]]]


def test_spade_takes_no_part_without_masks() -> None:
    supports = spec("spade").supports
    assert supports is not None
    assert supports(TASK) is None
    assert "source and target domain has none" in str(supports(Task("bare")))
    assert "target domain has none" in str(supports(Task("half", labels={1: "a"}, masks=frozenset({"source"}))))
    model = translator("spade", steps=1)
    model.fit(data("spade"), context())
    bare = Batch(torch.rand(1, 1, 64, 64), (Slice("a", "p", "c"),))
    with pytest.raises(DataError, match="there are none"):
        model.translate(bare, context())


def test_spade_says_when_the_vgg_loss_is_left_out_and_uses_it_when_not(tmp_path: Path) -> None:
    from torchvision.models import vgg19

    without = context()
    translator("spade", steps=1).fit(data("spade", n=1), without)
    assert "without the VGG loss" in without.log[0]
    assert without.remarks == ["Trained without the VGG loss (vgg19-imagenet is not installed)."]
    file = tmp_path / "vgg19.pth"
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in vgg19(weights=None).features.state_dict().items()}
    torch.manual_seed(0)
    torch.save({f"features.{k}": 0.05 * torch.randn(s) for k, s in shapes.items()}, file)
    here = context(find_weights=lambda name: file if name == "vgg19-imagenet" else tmp_path)
    model = translator("spade", steps=1)
    model.fit(data("spade", n=1), here)
    assert here.log == []
    assert model.history.values("VGG")[0] > 0


def test_coarse_masks_cover_the_anatomy_and_little_else() -> None:
    images_ = images("source", 4, 64)
    assert images_.masks is not None
    masks = backgrounds(images_)
    assert masks.dtype == np.uint8
    assert not (masks[images_.masks == 1]).any()
    assert 0.5 < masks.mean() < 1 - images_.masks.mean()
    exact = backgrounds(images_, dilation=0)
    # Opening with a cross takes at most single pixels off a disc.
    assert np.mean(exact == 1 - images_.masks) > 0.99


def test_coarse_masks_fill_holes_and_drop_specks_but_keep_parts_joined_in_another_slice() -> None:
    stored = np.zeros((2, 32, 32), dtype=np.uint8)
    stored[0, 4:28, 4:28] = 100
    stored[0, 12:16, 12:16] = 0
    stored[1, 4:28, 4:12] = stored[1, 4:28, 20:28] = 100
    stored[1, 30, 30] = 100
    slices = tuple(Slice(str(i), "p", "c", i) for i in range(2))
    masks = backgrounds(ImageSet(stored, slices, None, TASK, "source", "train"), dilation=0)
    assert not masks[0, 5:27, 5:27].any()
    assert not masks[1, 5:27, 5:11].any()
    assert not masks[1, 5:27, 21:27].any()
    assert masks[1, 30, 30] == 1
    assert masks[1, 5:27, 13:19].all()


def test_coarse_masks_of_ct_lie_at_a_fixed_hounsfield_value() -> None:
    stored = np.full((1, 32, 32), 20, dtype=np.uint8)
    stored[0, 8:24, 8:24] = 120
    ct = Slice("a", "p", "c", window=(-1000.0, 1000.0), measure_unit="HU")
    masks = backgrounds(ImageSet(stored, (ct,), None, TASK, "target", "train"), dilation=0)
    assert masks[0, 0, 0] == 1
    assert masks[0, 16, 16] == 0


def test_maskgan_pairs_slices_of_like_position() -> None:
    def volume(n: int) -> ImageSet:
        slices = tuple(Slice(str(i), "p", "c", i) for i in range(n))
        return ImageSet(np.zeros((n, 4, 4), np.uint8), slices, None, TASK, "source", "train")

    assert positions(volume(5).slices).tolist() == [0, 25, 50, 75, 100]
    assert positions(volume(1).slices).tolist() == [0]
    near, rng = LikePosition(volume(5), volume(101), 3.0), np.random.default_rng(0)
    assert {near(rng, 2) for _ in range(200)} == set(range(47, 54))
    # Where none is near enough, the nearest.
    assert LikePosition(volume(101), volume(3), 3.0)(rng, 30) == 1


def test_maskgan_says_when_its_masks_separate_nothing() -> None:
    noted = context()
    translator("maskgan", steps=1, mask_threshold=1.0, mask_dilation=0).fit(data("maskgan"), noted)
    assert "check mask_threshold" in noted.log[0]


def test_fastcut_mirrors_half_of_its_steps_and_has_no_identity_term() -> None:
    model = translator("fastcut", steps=8)
    model.fit(data("fastcut"), context())
    assert {entry.name for entry in model.history.entries} == {"D", "G_GAN", "NCE"}
    assert model.params["lambda_NCE"] == 10.0
    assert model.translate(batch(32, 1), context()).shape == (1, 1, 32, 32)


def test_mirrored_steps_of_fastcut_contrast_like_places() -> None:
    torch.manual_seed(0)
    generator, image = ResnetGenerator(1, 4, 1, antialias=True), torch.rand(1, 1, 32, 32)
    for parameter in generator.parameters():
        if parameter.ndim == 4:
            # Kernels without a left and a right: a mirrored image has mirrored maps.
            parameter.data = (parameter.data + parameter.data.flip(-1)) / 2
    projection = PatchProjection([8], 8)

    def contrast(translation: Tensor, flipped: bool) -> float:
        torch.manual_seed(1)
        measure = Contrast(generator, projection, [4], lambda maps: draw_positions(maps, 64, "cpu"))
        with torch.no_grad():
            return float(measure(image, translation, flipped))

    same = contrast(image, flipped=False)
    assert contrast(image.flip(-1), flipped=True) == pytest.approx(same, rel=1e-4)
    assert contrast(image.flip(-1), flipped=False) > 1.05 * same


@pytest.mark.parametrize(
    ("side", "params", "downs"), [(64, {}, 6), (96, {}, 5), (64, {"n_downs": 5}, 5), (64, {"crop_size": 32}, 5)]
)
def test_the_unet_halves_as_often_as_the_image_allows(side: int, params: dict[str, Any], downs: int) -> None:
    model = translator("pix2pix", steps=1, **params)
    model.fit(data("pix2pix", n=1, side=side), context())
    assert model.layout.infer(dict(model.network.state_dict()))["n_downs"] == downs


def test_pix2pix_has_a_residual_generator_too(tmp_path: Path) -> None:
    model = translator("pix2pix", steps=2, netG="resnet", n_blocks=1)
    model.fit(data("pix2pix"), context())
    model.save(tmp_path)
    again = translator("pix2pix", checkpoint=str(tmp_path / "latest_net_G.pth"))
    assert torch.equal(again.translate(batch(32), context()), model.translate(batch(32), context()))
    with pytest.raises(DataError, match="n_downs is 3"):
        translator("pix2pix", n_downs=3).fit(data("pix2pix"), context())


@pytest.mark.parametrize("name", PAIRED)
def test_a_paired_model_needs_pairs_of_one_size(name: str) -> None:
    whole = data(name)
    with pytest.raises(DataError, match="this fit has no pairs"):
        translator(name, steps=1).fit(replace(whole, paired_train=None), context())
    other = replace(whole, paired_train=images("paired", 4, 64))
    with pytest.raises(DataError, match=r"source slices of \(32, 32\) and 4 target slices of \(64, 64\)"):
        translator(name, steps=1).fit(other, context())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("regression-unet", {"width": 8, "levels": 4, "lr": 5e-3}),
        ("pix2pix", {"ngf": 8, "ndf": 4, "dropout": False, "lr": 2e-3}),
    ],
)
def test_a_paired_model_memorises_eight_pairs(name: str, params: dict[str, Any]) -> None:
    """Each truth is a random pattern, which no rule predicts: a model has to tell the eight sources apart."""
    training = data(name, n=8, side=32)
    source, pairs = training.source_train, training.paired_train
    assert source is not None
    assert pairs is not None
    coarse = np.random.default_rng(3).integers(0, 255, (8, 4, 4), dtype=np.uint8)
    truth = replace(pairs, images=coarse.repeat(8, axis=1).repeat(8, axis=2))
    # One thread: two that share a busy core wait for each other most of the time.
    here = context(threads=1)
    model = translator(name, flip=False, load_size=32, batch_size=8, steps=200, **params)
    model.fit(replace(training, paired_train=truth), here)
    output = model.translate(Batch(source.tensor(), source.slices), here).numpy()
    error = np.abs(output[:, 0] - truth.images / 255).mean()
    # No map of the intensity has a smaller MAE on these pairs than the median truth at each source value.
    medians = np.zeros(256)
    for value in np.unique(source.images):
        medians[value] = np.median(truth.images[source.images == value]) / 255
    of_a_map = np.abs(medians[source.images] - truth.images / 255).mean()
    assert of_a_map > 0.25
    assert error < 0.02
