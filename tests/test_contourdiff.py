"""ContourDiff: contours, network, samplers and translations as the original's libraries compute them; bad input."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import contourdiff_originals as originals
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine

from mtbench import Batch, DataError, ImageSet, Slice, TrainingData, WeightsError
from mtbench.compute.context import Context
from mtbench.compute.statedicts import read_state
from mtbench.data import Task
from mtbench.errors import ParamError
from mtbench.registry.params import complete
from mtbench.training import Moment
from mtbench_plugins.translators.contourdiff import augment, checkpoint, mtbench_translators
from mtbench_plugins.translators.contourdiff.contours import Contours, blur, canny, otsu, without_artefacts
from mtbench_plugins.translators.contourdiff.diffusion import Diffusion
from mtbench_plugins.translators.contourdiff.model import ContourDiff, create, nearest
from mtbench_plugins.translators.contourdiff.training import conditioned, warm_cosine
from mtbench_plugins.translators.contourdiff.unet import DenoisingUNet, UNetConfig

FIGURES: dict[str, Any] = json.loads(originals.FILE.read_text())
PICTURES = dict(originals.pictures())
CONFIG = UNetConfig((8, 8, 16), (False, True, False), blocks=2, groups=4, head=8)
TASK = Task("toy")
SMALL = {"width": 4, "levels": 2, "denoise_step": 2, "warmup": 0, "batch_size": 2}


def translator(**fields: Any) -> ContourDiff:
    (spec,) = mtbench_translators()
    return create(**complete({**SMALL, **fields}, spec.params, "contourdiff"))


def images(domain: Any = "source", n: int = 3, level: int = 200) -> ImageSet:
    """Squares of one grey level on black, 16 x 16, moved by their index; two slices a volume."""
    pixels = np.zeros((n, 16, 16), np.uint8)
    for i in range(n):
        pixels[i, 3 : 10 + i % 4, 2 + i % 4 : 12] = level
    slices = tuple(Slice(f"s{i}", f"p{i // 2}", f"c{i // 2}", i % 2) for i in range(n))
    return ImageSet(pixels, slices, None, TASK, domain, "train")


def data(level: int = 200) -> TrainingData:
    return TrainingData(TASK, source_train=images(), target_train=images("target", level=level))


def context() -> Context:
    return Context(task=TASK, seed=5, threads=1)


def batch(of: ImageSet) -> Batch:
    return Batch(of.tensor(), of.slices)


def folder(path: Path, **config: Any) -> Path:
    """A folder as ``save_pretrained`` of a pipeline writes it, with weights from their names."""
    (path / "unet").mkdir(parents=True)
    (path / "unet" / "config.json").write_text(json.dumps({**FIGURES["unet"]["config"], **config}))
    state = originals.with_weights(DenoisingUNet(CONFIG), originals.SEED).state_dict()
    torch.save(state, path / "unet" / "diffusion_pytorch_model.bin")
    return path


# -- contours


@pytest.mark.parametrize("name", PICTURES)
def test_contours_are_opencvs(name: str) -> None:
    figures = FIGURES["contours"]
    assert originals.facts(PICTURES[name]) == figures[f"{name} input"]
    blurred = blur(PICTURES[name])
    assert originals.facts(blurred) == figures[f"{name} blurred"]
    for low, high in originals.THRESHOLDS:
        assert originals.facts(canny(blurred, low, high)) == figures[f"{name} {low} {high}"]


@pytest.mark.parametrize("name", PICTURES)
def test_artefacts_are_removed_as_by_scikit_image(name: str) -> None:
    kept = without_artefacts(PICTURES[name], min_size=60, area_threshold=20)
    assert originals.facts(kept) == FIGURES["contours"][f"{name} without artefacts"]


def test_contours_of_a_float_image_are_zeros_and_ones_of_its_eight_bit_form() -> None:
    pixels = PICTURES["square discs"]
    found = Contours().find(pixels / np.float32(255))
    assert originals.packed(found) == FIGURES["contours"]["square discs packed"]
    assert set(np.unique(found)) == {0, 1}
    # 0.4 grey levels are lost in rounding; thresholds above any gradient find nothing.
    assert np.array_equal(Contours().find((pixels + 0.4) / 255), found)
    assert not Contours(low=2000, high=2040).find(pixels / 255).any()


def test_small_objects_have_no_contours_once_artefacts_are_removed() -> None:
    image = np.zeros((64, 64), np.float32)
    image[4:40, 4:40], image[50:56, 50:56] = 0.8, 0.8
    found = Contours(remove_artifact=True, min_size=500, area_threshold=100).find(image)
    assert found[:45, :45].any()
    assert not found[45:, 45:].any()
    assert not Contours(remove_artifact=True).find(image).any(), "8000 pixels are more than the image has"
    assert otsu(np.full((4, 4), 7, np.uint8)) == 7


# -- network, samplers, schedule


def test_the_network_is_that_of_diffusers() -> None:
    figures = FIGURES["unet"]
    net = originals.with_weights(DenoisingUNet(CONFIG).eval(), originals.SEED)
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == figures["shapes"]
    x = originals.image((1, 2, 16, 24), originals.SEED, "input")
    for step in (0, 17, 999):
        with torch.no_grad():
            out = net(x, torch.tensor([step]))
        assert out.flatten()[::7].tolist() == pytest.approx(figures[f"output {step}"], abs=5e-6)


def test_the_originals_network_has_its_size() -> None:
    with torch.device("meta"):
        net = DenoisingUNet(UNetConfig.of({"width": None, "levels": None}))
    # UNet2DModel as train.py builds it, counted once with diffusers.
    assert sum(weight.numel() for weight in net.parameters()) == 113_669_761


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_single_steps_are_those_of_the_schedulers(sampler: Any) -> None:
    process = Diffusion(1000, 50, sampler)
    assert process.times == FIGURES["schedulers"][f"{sampler} times"]
    for step in originals.TIMES:
        x, predicted, noise = originals.draws(step)
        back = process.back(x, predicted, step, lambda noise=noise: noise)  # type: ignore[misc]
        theirs = FIGURES["schedulers"][f"{sampler} {step}"]
        assert back.flatten()[::7].tolist() == pytest.approx(theirs, abs=1e-5)
        noisy = process.noisy(x, predicted, torch.tensor([step]))
        assert noisy.flatten()[::7].tolist() == pytest.approx(FIGURES["schedulers"][f"noisy {step}"], abs=1e-6)


def test_learning_rates_are_those_of_the_schedule() -> None:
    ours = [warm_cosine(Moment(step, 0, 10, step / 2000), 500) for step in originals.RATES]
    assert ours == pytest.approx(FIGURES["schedulers"]["rates"], abs=1e-9)
    assert warm_cosine(Moment(0, 0, 10, 0.0), 0) == 1.0


def test_the_condition_is_the_second_channel_unscaled() -> None:
    x, contours = torch.full((2, 1, 4, 4), -0.7), torch.ones(2, 1, 4, 4)
    both = conditioned(x, contours)
    assert both.shape == (2, 2, 4, 4)
    assert both[:, 0].unique().tolist() == pytest.approx([-0.7])
    assert both[:, 1].unique().tolist() == [1.0]


# -- augmentation


def test_the_affine_map_is_torchvisions() -> None:
    x = torch.from_numpy(PICTURES["wide discs"])[None].float()
    ours = augment.warp(x, augment.inverse(4.0, 1.07, 0.95), (6, -3), "nearest")
    theirs = affine(x, 4.0, [6, -3], 1.07, [0.95, 0.0], InterpolationMode.NEAREST)
    # Ties between two pixels are broken by rounding.
    assert float((ours != theirs).float().mean()) < 0.002


def test_contours_move_with_their_image() -> None:
    x = torch.zeros(1, 64, 64)
    x[:, 20:40, 12:50] = 1.0
    changed = augment.augmentation((64, 64), shift=True, mirror=True, affine=1.0)
    for seed in range(8):
        image, mask = changed(x, x[0].to(torch.uint8), np.random.default_rng(seed))
        assert mask is not None
        assert mask.dtype is torch.uint8
        inside = (image[0] > augment.SEEN).to(torch.uint8)
        assert torch.equal(mask, inside)
        assert not torch.equal(mask, x[0].to(torch.uint8))
    plain = augment.augmentation((64, 64), shift=False, mirror=False, affine=0.0)
    assert torch.equal(plain(x, None, np.random.default_rng(0))[0], x)


# -- whole translations


def test_a_folder_of_diffusers_translates_as_the_original_does(tmp_path: Path) -> None:
    pixels = originals.source()
    given = Batch(torch.from_numpy(pixels / np.float32(255))[None, None], (originals.SLICE,))
    model = translator(
        checkpoint=str(folder(tmp_path / "model_epoch_1")), width=None, levels=None, denoise_step=originals.STEPS
    )
    ours = (model.translate(given, originals.context())[0, 0] * 255).round().numpy()
    theirs = np.frombuffer(base64.b64decode(FIGURES["translation"]), np.uint8).reshape(32, 32).astype(float)
    assert np.ptp(theirs) == 255
    assert theirs.std() > 20
    assert np.abs(ours - theirs).max() <= 1
    # The folder of the network and the file in it mean the same.
    for path in (tmp_path / "model_epoch_1/unet", tmp_path / "model_epoch_1/unet/diffusion_pytorch_model.bin"):
        again = translator(checkpoint=str(path), width=8, levels=3, denoise_step=originals.STEPS)
        assert np.array_equal((again.translate(given, originals.context())[0, 0] * 255).round().numpy(), ours)


def test_the_note_on_a_folder_names_its_weight_file(tmp_path: Path) -> None:
    path = folder(tmp_path)
    digest = hashlib.sha256((path / "unet/diffusion_pytorch_model.bin").read_bytes()).hexdigest()
    (spec,) = mtbench_translators()
    said = spec.note({"checkpoint": str(path)})
    assert said.startswith(f"Weights from diffusion_pytorch_model.bin (sha256 {digest}). ContourDiff's code")
    assert spec.note({"checkpoint": None}) == ""


def test_a_fit_is_saved_as_such_a_folder(tmp_path: Path) -> None:
    model = translator(steps=2)
    model.fit(data(), context())
    model.save(tmp_path)
    state = read_state(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert model.network is not None
    assert state.keys() == model.network.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.network.state_dict().items())
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    # Every option that diffusers writes and that it does not leave at its default is there.
    names = {"in_channels", "out_channels", "block_out_channels", "down_block_types", "up_block_types"}
    assert names | {"layers_per_block", "norm_num_groups", "attention_head_dim"} <= config.keys()
    assert config["down_block_types"] == ["AttnDownBlock2D", "DownBlock2D"]
    assert config["up_block_types"] == ["UpBlock2D", "AttnUpBlock2D"]
    given = batch(images())
    loaded = translator(steps=2)
    loaded.load(tmp_path)
    as_checkpoint = translator(checkpoint=str(tmp_path))
    for other in (loaded, as_checkpoint):
        assert torch.equal(other.translate(given, context()), model.translate(given, context()))


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_slice_has_the_same_translation_in_any_batch(sampler: str, tmp_path: Path) -> None:
    path = str(folder(tmp_path))
    model = translator(checkpoint=path, width=None, levels=None, sampler=sampler, candidates=2)
    given = batch(images())
    whole = model.translate(given, context())
    assert whole.shape == (3, 1, 16, 16)
    for i in range(3):
        alone = Batch(given.source[i : i + 1], given.slices[i : i + 1])
        assert torch.allclose(model.translate(alone, context()), whole[i : i + 1], atol=1e-5)
    assert not torch.allclose(whole[0], whole[1], atol=0.1)


def test_the_darkest_candidate_is_taken(tmp_path: Path) -> None:
    model = translator(checkpoint=str(folder(tmp_path)), width=None, levels=None, candidates=3)
    given = batch(images())
    chosen = model.translate(given, context())
    assert model.network is not None
    drawn = torch.stack(list(model.candidates(model.network, given, context())))
    means = (drawn * 255).round().mean(dim=(2, 3, 4))
    assert len({round(float(mean), 2) for mean in means[:, 0]}) == 3
    for i in range(3):
        assert torch.allclose(chosen[i], drawn[int(means[:, i].argmin()), i], atol=1e-5)


def test_the_nearest_candidate_is_taken_where_a_slice_lies_before() -> None:
    candidates = torch.stack([torch.full((1, 4, 4), level) for level in (0.2, 0.5, 0.9)])
    assert nearest(candidates, None) == 0
    assert nearest(candidates, torch.full((1, 4, 4), 0.6)) == 1
    assert nearest(candidates, torch.full((1, 4, 4), 0.8)) == 2


def test_neighbours_decide_within_each_volume_in_the_order_of_slices(tmp_path: Path) -> None:
    fields = {"checkpoint": str(folder(tmp_path)), "width": None, "levels": None, "candidates": 3}
    given = images(n=4)
    backwards = given.subset([3, 2, 1, 0])
    model: Any = translator(choice="neighbour", **fields)
    forward = np.stack(list(model.translate_all(given, context())))
    assert np.array_equal(np.stack(list(model.translate_all(backwards, context())))[::-1], forward)
    darkest = translator(**fields).translate(batch(given), context())[:, 0].numpy()
    assert np.allclose(forward[[0, 2]], darkest[[0, 2]], atol=1e-5), "the first of each volume"
    drawn = [model.candidates(model.network, batch(given.subset([i])), context()) for i in (1, 3)]
    for k, candidates in enumerate(drawn):
        before, taken = forward[2 * k], forward[2 * k + 1]
        distances = [float(((each.numpy() - before) ** 2).mean()) for each in candidates]
        assert ((taken - before) ** 2).mean() == pytest.approx(min(distances), rel=1e-3)


class Oracle(torch.nn.Module):
    """Predicts the noise from the true image, for 1000 steps."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        left = np.prod(1.0 - np.linspace(1e-4, 0.02, 1000)[: int(steps[0]) + 1])
        noise: Tensor = (x[:, :1] - np.sqrt(left) * self.clean) / np.sqrt(1.0 - left)
        return noise


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_perfect_prediction_gives_the_image_which_is_then_stretched(sampler: str) -> None:
    given = batch(images())
    clean = given.source * 1.2 - 0.9
    plain = translator(sampler=sampler, stretch=False, denoise_step=20).generate(Oracle(clean), given, context())
    assert torch.allclose(plain, clean, atol=2e-3)
    stretched = translator(sampler=sampler, denoise_step=20).generate(Oracle(clean), given, context())
    assert torch.allclose(stretched, given.source / given.source.amax() * 2 - 1, atol=5e-3)
    flat = translator(sampler=sampler, denoise_step=20).generate(Oracle(torch.full_like(clean, -1.0)), given, context())
    assert torch.isfinite(flat).all()


def test_training_lowers_the_loss() -> None:
    model = translator(steps=40, lr=1e-2, affine=0.0, shift=False)
    model.fit(data(), context())
    losses = [entry.value for entry in model.history.entries if entry.name == "noise"]
    assert np.mean(losses[-10:]) < 0.7 * losses[0]


# -- bad input


def test_slices_without_contours_are_reported() -> None:
    model = translator(steps=1)
    here = context()
    faint = data()
    assert faint.target_train is not None
    pixels = np.array(faint.target_train.images)
    pixels[1] = 3
    model.fit(replace(faint, target_train=replace(faint.target_train, images=pixels)), here)
    assert here.remarks == ["1 of 3 target training slices have no contours at thresholds 80 and 150."]
    here = context()
    model.translate(batch(images(level=5)), here)
    assert here.remarks == [
        "Some source slices have no contours at thresholds 80 and 150; their translations depend on noise alone."
    ]
    here = context()
    model.translate(batch(images()), here)
    assert here.remarks == []


def test_a_target_without_any_contour_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no target slice has a contour at thresholds 80 and 150\..*lower thresholds"):
        translator(steps=1).fit(data(level=5), context())
    with pytest.raises(DataError, match=r"and min_size 8000.*or a smaller min_size"):
        translator(steps=1, remove_artifact=True, area_threshold=100).fit(data(), context())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"in_channels": 3}, "neighbouring slice as a third channel"),
        ({"in_channels": 4, "out_channels": 3}, "colour images"),
        ({"in_channels": 1}, "1 channels in and 1 out"),
        ({"_class_name": "UNet2DConditionModel"}, "_class_name is 'UNet2DConditionModel'. Expected 'UNet2DModel'"),
        ({"act_fn": "relu"}, "act_fn is 'relu'. Expected 'silu'"),
        ({"up_block_types": ["UpBlock2D"] * 3}, "up_block_types is"),
        ({"block_out_channels": [8, 8]}, "not the config.json of a UNet2DModel: 2 widths, 3 levels"),
        ({"norm_num_groups": 3}, "in 3 groups"),
        ({"attention_head_dim": None}, "not the config.json of a UNet2DModel"),
        ({"block_out_channels": [8, 8, 24]}, "has shape"),
        ({"layers_per_block": 1}, "are unknown"),
    ],
)
def test_a_folder_of_another_network_is_refused(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        checkpoint.read(folder(tmp_path, **config), {"width": None, "levels": None})
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def written(path: Path, name: str, content: bytes) -> Path:
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda path: path / "missing", "this folder does not exist. Expected unet/config.json"),
        (lambda path: written(path / "empty", "README", b""), "this folder holds no weights"),
        (lambda path: (folder(path / "a") / "unet/config.json").unlink() or path / "a", "this file does not exist"),
        (lambda path: written(folder(path / "b") / "unet", "config.json", b"{"), "this is no JSON"),
        (lambda path: written(folder(path / "c") / "unet", "config.json", b"[]"), "not a table of options"),
        (
            lambda path: written(folder(path / "d") / "unet", "diffusion_pytorch_model.safetensors", b"12345678901"),
            "not a complete safetensors file",
        ),
    ],
)
def test_a_damaged_folder_is_refused(break_it: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        checkpoint.read(break_it(tmp_path), {"width": None, "levels": None})
    assert said in str(caught.value)


def test_weights_of_another_method_are_named(tmp_path: Path) -> None:
    path = folder(tmp_path)
    torch.save({"model.7.filt": torch.zeros(1)}, path / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"this file holds a CUT generator. Expected a diffusion U-Net of diffusers"):
        checkpoint.read(path, {"width": None, "levels": None})


def test_sizes_that_contradict_the_folder_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has 8 filters in its first level \(width\), not 16"):
        checkpoint.read(folder(tmp_path), {"width": 16, "levels": None})


def test_parameters_that_contradict_each_other_are_errors() -> None:
    with pytest.raises(ParamError, match="levels is 1"):
        translator(levels=1)
    with pytest.raises(ParamError, match=r"denoise_step is 50. Expected at most noise_step, 20"):
        translator(denoise_step=50, noise_step=20)
    with pytest.raises(ParamError, match=r"one candidate. Expected candidates of at least 2"):
        translator(choice="neighbour")


def test_sizes_that_the_network_cannot_halve_are_an_error_in_training_only(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images of 16 x 16 is not possible.*multiples of 32.*levels below 6"):
        translator(levels=None, steps=1).fit(data(), context())
    model = translator(checkpoint=str(folder(tmp_path)), width=None, levels=None)
    odd: Tensor = model.translate(Batch(torch.rand(1, 1, 17, 22), images().slices[:1]), context())
    assert odd.shape == (1, 1, 17, 22)
