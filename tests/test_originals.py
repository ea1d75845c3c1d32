"""CUT, FastCUT and pix2pix put out what their originals put out: images, and the losses of one step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from originals import FIGURES, image, with_weights
from torch import Tensor, nn

from mtbench_plugins.translators._shared.adversarial import discriminator_loss
from mtbench_plugins.translators._shared.contrast import PatchProjection
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.cut.losses import Contrast, CutWeights, Translations
from mtbench_plugins.translators.cut.losses import generator_losses as cut_losses
from mtbench_plugins.translators.pix2pix.losses import generator_losses as pix2pix_losses
from mtbench_plugins.translators.pix2pix.losses import pair_loss
from mtbench_plugins.translators.pix2pix.networks import UnetGenerator

TOLERANCE = 2e-5
RELATIVE = 1e-4
LAYERS = [0, 4, 8, 12, 16]

IMAGES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int]]] = {
    "cut_1ch": (lambda: ResnetGenerator(1, antialias=True), (2, 1, 64, 64)),
    "cut_3ch": (lambda: ResnetGenerator(3, antialias=True), (2, 3, 64, 64)),
    "pix2pix_1ch": (lambda: UnetGenerator(1, 32), (1, 1, 256, 256)),
    "pix2pix_3ch": (lambda: UnetGenerator(3, 32), (1, 3, 256, 256)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    build, shape = IMAGES[name]
    network = with_weights(build(), 1).eval()
    with torch.inference_mode():
        out = network(image(shape, 1, name))
    figures = FIGURES["images"][name]
    values = out.flatten()[torch.tensor(figures["at"])].tolist()
    assert values == pytest.approx(figures["values"], abs=TOLERANCE, rel=0)
    assert [float(out.mean()), float(out.std())] == pytest.approx(figures["mean and std"], abs=TOLERANCE, rel=0)
    root = os.environ.get("MTBENCH_TEST_DATA")
    if root:
        with np.load(Path(root) / "parity" / "expected.npz") as whole:
            assert float((out - torch.from_numpy(whole[f"{name}/image"])).abs().max()) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "weights"), [("cut_1ch", CutWeights()), ("fastcut_1ch", CutWeights(1.0, 10.0, False))]
)
def test_losses_of_cut(name: str, weights: CutWeights) -> None:
    generator = with_weights(ResnetGenerator(1, antialias=True), 1)
    discriminator = with_weights(PatchGAN(1, antialias=True), 2)
    projection = with_weights(PatchProjection([1, 128, 256, 256, 256]), 3)
    a, b = (image((1, 1, 64, 64), 1, f"loss:{domain}") for domain in "AB")
    patches = iter(FIGURES["patches"][name])

    def draw(maps: Any) -> list[Tensor]:
        drawn = [torch.tensor(ids) for ids in next(patches)]
        assert all(int(ids.max()) < height * width for ids, (height, width) in zip(drawn, maps, strict=True))
        return drawn

    with torch.no_grad():
        fake, idt = generator(torch.cat([a, b])).chunk(2)
        images = Translations(a, b, fake, idt)
        losses = cut_losses(discriminator, Contrast(generator, projection, LAYERS, draw), images, weights)
        total = sum(losses.values(), torch.zeros(()))
        losses["D"] = discriminator_loss(discriminator, b, fake)
    theirs = FIGURES["losses"][name]
    # The original reports both contrasts before it takes their mean.
    expected = {key: theirs[key] * (0.5 if weights.identity and key.startswith("NCE") else 1.0) for key in losses}
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(expected, rel=RELATIVE)
    assert float(total) == pytest.approx(theirs["G"], rel=RELATIVE)


def test_losses_of_pix2pix() -> None:
    generator, discriminator = with_weights(UnetGenerator(1, 32), 1), with_weights(PatchGAN(2, norm="batch"), 2)
    source, truth = (image((1, 1, 256, 256), 1, f"loss:{domain}") for domain in "AB")
    with torch.no_grad():
        fake = generator(source)
        # In training mode the discriminator's statistics are those of each call.
        losses = {"D": pair_loss(discriminator, source, truth, fake)}
        losses |= pix2pix_losses(discriminator, source, truth, fake, 100.0)
    theirs = FIGURES["losses"]["pix2pix_1ch"]
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(
        {key: theirs[key] for key in losses}, rel=RELATIVE
    )
