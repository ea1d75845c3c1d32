"""The U-Net segmenters: they learn, they come back from disk, and they refuse what they cannot use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mtbench.compute.checkpoints import Checkpoints
from mtbench.compute.context import Context
from mtbench.data import ImageSet, Slice, Task, TrainingData
from mtbench.errors import DataError, TrainingError, WeightsError
from mtbench_plugins.segmenters._targets import Targets, dice
from mtbench_plugins.segmenters.residual_unet import ResidualUNet, dice_loss, one_hot
from mtbench_plugins.segmenters.unet import mtbench_segmenters
from mtbench_plugins.segmenters.unet_lab import LabUNetSegmenter, PlainUNet
from mtbench_plugins.segmenters.unet_model import UNetSegmenter

TASK = Task("discs", labels={1: "disc", 3: "core"}, regions={"all": (1, 3), "core": (3,)})


def discs(n: int, seed: int = 0, size: tuple[int, int] = (32, 32), task: Task = TASK) -> ImageSet:
    """Noisy discs (label 1) with a brighter core (label 3), one in four slices empty."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    images, masks = [], []
    for k in range(n):
        y, x = rng.uniform(0.35, 0.65, 2) * size
        distance = np.hypot(rows - y, columns - x) / min(size)
        mask = np.zeros(size, np.uint8)
        if k % 4 != 3:
            mask[distance < rng.uniform(0.22, 0.32)] = 1
            mask[distance < 0.12] = 3
        image = 0.2 + 0.3 * (mask == 1) + 0.6 * (mask == 3) + rng.normal(0, 0.05, size)
        images.append(np.rint(255 * image.clip(0, 1)).astype(np.uint8))
        masks.append(mask)
    slices = tuple(Slice(f"s{seed}-{i}", f"p{seed}-{i}", f"c{seed}-{i}") for i in range(n))
    return ImageSet(np.stack(images), slices, np.stack(masks), task, "target", "train")


def data(training: ImageSet, validation: ImageSet | None = None) -> TrainingData:
    validation = training.subset([]) if validation is None else validation
    return TrainingData(training.task, target_train=training, target_validation=replace(validation, split="validation"))


def context(**kwargs: Any) -> Context:
    return Context(task=TASK, seed=4, threads=1, batch_size=8, **kwargs)


def small(**kwargs: Any) -> UNetSegmenter:
    return UNetSegmenter(**{"epochs": 12, "filters": 8, "levels": 3, "lr": 5e-3, "batch_size": 8, **kwargs})


def small_lab(**kwargs: Any) -> LabUNetSegmenter:
    return LabUNetSegmenter(**{"epochs": 12, "filters": 8, "levels": 3, "batch_size": 8, "patience": 12, **kwargs})


@pytest.fixture(scope="module")
def fitted() -> UNetSegmenter:
    segmenter = small()
    segmenter.fit(data(discs(32), discs(8, 1)), context())
    return segmenter


@pytest.mark.parametrize("make", [small, lambda: small(per="region"), small_lab])
def test_it_learns(make: Any, tmp_path: Path) -> None:
    segmenter = make()
    here = context()
    segmenter.fit(data(discs(32), discs(8, 1)), here)
    segmenter.save(tmp_path)
    test = discs(12, 2)
    overlap = dice(segmenter.segment(test.tensor(), here), test.mask_tensor(), TASK.regions)
    assert min(overlap.values()) > 0.9, overlap
    validation = json.loads((tmp_path / "validation.json").read_text())
    assert set(validation) == {"all", "core"}
    assert min(validation.values()) > 0.9
    assert {e["name"] for e in pq.read_table(tmp_path / "losses.parquet").to_pylist()} >= {"dice", "ce", "score"}
    assert any("epochs, best of" in line for line in here.log)


def test_saved_and_loaded_it_gives_the_same_labels(fitted: UNetSegmenter, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    other = small()
    other.load(tmp_path)
    images = discs(6, 3).tensor()
    assert torch.equal(fitted.segment(images, context()), other.segment(images, context()))


def test_labels_do_not_depend_on_the_batch(fitted: UNetSegmenter) -> None:
    images = discs(9, 4).tensor()
    together = fitted.segment(images, context())
    single = torch.cat([fitted.segment(image[None], context()) for image in images])
    assert torch.equal(together, single)
    assert together.dtype == torch.int64
    assert set(together.flatten().tolist()) == {0, 1, 3}


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 32), (33, 47), (64, 40)])
def test_any_size(fitted: UNetSegmenter, size: tuple[int, int]) -> None:
    assert fitted.segment(torch.rand(2, 1, *size), context()).shape == (2, *size)


def test_padding_does_not_move_the_labels(fitted: UNetSegmenter) -> None:
    odd = discs(8, 5, size=(37, 41))
    overlap = dice(fitted.segment(odd.tensor(), context()), odd.mask_tensor(), TASK.regions)
    assert min(overlap.values()) > 0.85, overlap


@pytest.mark.parametrize("make", [small, small_lab])
def test_training_on_odd_and_tiny_sizes(make: Any) -> None:
    for size in [(13, 21), (4, 4)]:
        segmenter = make(epochs=1)
        segmenter.fit(data(discs(3, size=size)), context())
        assert segmenter.segment(torch.rand(1, 1, *size), context()).shape == (1, *size)


def test_the_same_fit_twice_gives_the_same_network() -> None:
    first, second = small(epochs=2), small(epochs=2)
    for segmenter in (first, second):
        segmenter.fit(data(discs(10), discs(4, 1)), context())
        torch.rand(1)
    for a, b in zip(first.networks["task"].parameters(), second.networks["task"].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("make", [lambda: small(per="region", epochs=3), lambda: small_lab(epochs=3)])
def test_a_killed_fit_goes_on_to_the_same_networks(make: Any, tmp_path: Path) -> None:
    class Killed(Checkpoints):
        saves = 0

        def save(self, state: Any) -> None:
            super().save(state)
            self.saves += 1
            if self.saves == 8:  # in the second network
                raise KeyboardInterrupt

    training = data(discs(10), discs(4, 1))
    whole, again = make(), make()
    whole.fit(training, context())
    with pytest.raises(KeyboardInterrupt):
        make().fit(training, context(checkpoints=Killed(tmp_path, 0.0)))
    again.fit(training, context(checkpoints=Checkpoints(tmp_path, 0.0)))
    assert set(whole.networks) == {"all", "core"}
    for name, network in whole.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, again.networks[name].state_dict()[key]), (name, key)
    assert whole.history == again.history
    assert whole.validation == again.validation


def test_without_validation_slices_the_last_epoch_is_kept(tmp_path: Path) -> None:
    here, segmenter = context(), small(epochs=2)
    segmenter.fit(data(discs(6)), here)
    segmenter.save(tmp_path)
    assert "there are no validation slices: the segmenter of the last epoch is kept" in here.log
    assert json.loads((tmp_path / "validation.json").read_text()) == {}
    assert segmenter.history.steps == 2


def test_early_stopping() -> None:
    segmenter = small(lr=0.0, epochs=20, patience=3)
    segmenter.fit(data(discs(8), discs(4, 1)), context())
    assert segmenter.history.epochs == 4


def test_one_training_image() -> None:
    for make in (small, small_lab):
        segmenter = make(epochs=2)
        segmenter.fit(data(discs(1), discs(1, 1)), context())
        assert segmenter.segment(discs(2, 2).tensor(), context()).shape == (2, 32, 32)


def test_an_epoch_may_be_longer_than_the_data() -> None:
    segmenter = small(epochs=2, epoch_length=32)
    segmenter.fit(data(discs(4)), context())
    assert segmenter.history.steps == 8


def test_bf16() -> None:
    segmenter = small()
    segmenter.fit(data(discs(32), discs(8, 1)), context(precision="bf16"))
    assert min(segmenter.validation.values()) > 0.9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 255], r"the masks hold the value 255.*0 and 1 \(disc\), 3 \(core\).*0 and 255 must be stored as 0 and 1"),
        ([0, 1, 2], "the masks hold the value 2.*Correct the masks or the table"),
        ([0], "no training slice shows any label of all, core"),
    ],
)
def test_masks_that_do_not_belong_to_the_table(values: list[int], message: str) -> None:
    images = discs(4)
    masks = np.random.default_rng(0).choice(values, images.images.shape).astype(np.uint8)
    with pytest.raises(DataError, match=message):
        small().fit(data(replace(images, masks=masks)), context())


def test_masks_labels_or_slices_that_are_missing() -> None:
    images = discs(4)
    with pytest.raises(DataError, match="a segmenter needs masks, and there are none"):
        small().fit(data(replace(images, masks=None)), context())
    with pytest.raises(DataError, match="'bare' has no labels to segment"):
        small().fit(data(discs(4, task=Task("bare"))), context())
    with pytest.raises(DataError, match="no training slices"):
        small().fit(data(images.subset([])), context())
    with pytest.raises(WeightsError, match="neither fitted nor loaded"):
        small().segment(images.tensor(), context())


def test_a_region_that_no_training_slice_shows_is_noted() -> None:
    images = discs(6)
    assert images.masks is not None
    here = context()
    small(epochs=1).fit(data(replace(images, masks=np.minimum(images.masks, 1))), here)
    assert "no training slice shows 'core'" in here.log


def test_a_diverging_rate() -> None:
    with pytest.raises(TrainingError, match=r"the (loss|tensor)"):
        small(lr=1e30).fit(data(discs(8)), context())


def test_a_file_of_other_parameters_damaged_or_missing(fitted: UNetSegmenter, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    for other in (small(filters=4), small(per="region"), small_lab()):
        with pytest.raises(WeightsError, match="with the same parameters"):
            other.load(tmp_path)
    file = tmp_path / "networks.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        small().load(tmp_path)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        small().load(tmp_path / "nowhere")


def test_networks_of_single_regions_are_put_together_by_likelihood() -> None:
    def logit(*probabilities: float) -> torch.Tensor:
        return torch.logit(torch.tensor(probabilities)).reshape(1, 1, 1, -1)

    nested = Targets((1, 3), {"all": (1, 3), "core": (3,)}, "region")
    both = nested.decode({"all": logit(0.9, 0.9, 0.1, 0.4, 0.4), "core": logit(0.2, 0.8, 0.2, 0.9, 0.55)})
    assert both.flatten().tolist() == [1, 3, 0, 3, 0]
    apart = Targets((1, 2), {"a": (1,), "b": (2,)}, "region")
    both = apart.decode({"a": logit(0.9, 0.6, 0.49, 0.51), "b": logit(0.6, 0.9, 0.49, 0.1)})
    assert both.flatten().tolist() == [1, 2, 0, 1]
    alone = nested.decode({"core": logit(0.49, 0.51)})
    assert alone.flatten().tolist() == [0, 3]


def test_confidence_is_the_probability_of_the_label(fitted: UNetSegmenter) -> None:
    images = discs(2).tensor()
    labels, sure = fitted.segment_with_confidence(images, context())
    assert torch.equal(labels, fitted.segment(images, context()))
    assert fitted.targets is not None
    ((name, _),) = fitted.targets.networks.items()
    with torch.inference_mode():
        chances = np.exp(fitted.logits(name, images).double().numpy())
    np.testing.assert_allclose(sure.numpy(), (chances / chances.sum(axis=1, keepdims=True)).max(axis=1), rtol=1e-4)
    # Of p = 0.9 for "all" and 0.2 for "core": background 0.1 x 0.8, disc 0.9 x 0.8, core 0.9 x 0.2.
    targets = Targets((1, 3), {"all": (1, 3), "core": (3,)}, "region")
    logits = {
        region: torch.full((1, 1, 1, 1), float(np.log(p / (1 - p)))) for region, p in (("all", 0.9), ("core", 0.2))
    }
    assert targets.decode(logits).item() == 1
    assert targets.confidence(logits).item() == pytest.approx(0.72 / (0.08 + 0.72 + 0.18), rel=1e-5)


def test_dice_by_slice() -> None:
    truth = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]])
    predicted = torch.tensor([[[1, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]])
    assert dice(predicted, truth, {"a": (1,)})["a"] == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-4)


def test_the_lab_network_has_the_shape_of_the_published_unet() -> None:
    network = PlainUNet(1, 64, 5)
    # 3 x 3 convolutions of 64..1024 channels, with 3/2 as many inputs where up-convolutions keep their width.
    assert [block[0].out_channels for block in network.down] == [64, 128, 256, 512, 1024]  # type: ignore[index]
    assert [block[0].in_channels for block in network.merge] == [1536, 768, 384, 192]  # type: ignore[index]
    assert PlainUNet(2, 4, 3)(torch.rand(1, 1, 16, 24)).shape == (1, 2, 16, 24)


def test_the_lab_loss_is_a_softmax_over_pixels() -> None:
    logits, classes = torch.randn(2, 1, 3, 4), torch.randint(0, 2, (2, 3, 4))
    expected = -(logits.reshape(2, 12).log_softmax(1) * classes.reshape(2, 12)).sum(1).mean()
    losses = small_lab().losses(logits, classes)
    torch.testing.assert_close(losses["ce"], expected)
    p = logits.sigmoid()[:, 0]
    overlap = (2 * (p * classes).sum((1, 2))) / (p.sum((1, 2)) + classes.sum((1, 2)))
    torch.testing.assert_close(losses["dice"], (1 - overlap).mean(), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
@pytest.mark.parametrize("channels", [[4, 8], [4, 8, 16], [8, 16, 32, 64]], ids=len)
@pytest.mark.parametrize("classes", [1, 3])
def test_network_loss_and_gradients_are_monais_bit_for_bit(channels: list[int], classes: int) -> None:
    from monai.losses.dice import DiceLoss
    from monai.networks.nets.unet import UNet

    torch.manual_seed(3)
    theirs = UNet(2, 1, classes, channels, [2] * (len(channels) - 1), num_res_units=2, norm="BATCH")
    torch.manual_seed(3)
    ours = ResidualUNet(classes, channels)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    images, truth = torch.rand(3, 1, 32, 48), torch.randint(0, max(2, classes), (3, 32, 48))
    logits, others = ours(images), theirs(images)
    assert torch.equal(logits, others)
    if classes == 1:
        mask = truth[:, None].float()
        assert torch.equal(dice_loss(logits.sigmoid(), mask), DiceLoss(sigmoid=True)(others, mask))
        loss = dice_loss(logits.sigmoid(), mask, whole_batch=True)
        reference = DiceLoss(sigmoid=True, batch=True)(others, mask)
    else:
        loss = dice_loss(logits.softmax(1)[:, 1:], one_hot(truth, classes)[:, 1:], whole_batch=True)
        multiclass = DiceLoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
        reference = multiclass(others, truth[:, None])
    assert torch.equal(loss, reference)
    loss.backward()
    reference.backward()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None and b.grad is not None)


def test_the_specs_name_the_classes_and_their_defaults() -> None:
    import importlib
    import inspect

    for spec in mtbench_segmenters():
        module, _, name = spec.factory.partition(":")
        taken = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        assert {k: p.default for k, p in taken.items()} == {k: p.default for k, p in spec.params.items()}
