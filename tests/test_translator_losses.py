"""The losses of one training step are those of the originals."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtbench_plugins.translators._shared.adversarial import discriminator_loss, hinge
from mtbench_plugins.translators._shared.contrast import PatchProjection
from mtbench_plugins.translators._shared.cycle import Networks
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.cyclegan import losses as cyclegan
from mtbench_plugins.translators.maskgan import losses as maskgan
from mtbench_plugins.translators.maskgan.networks import AttentionGenerator
from mtbench_plugins.translators.spade import losses as spade
from mtbench_plugins.translators.spade.networks import MultiscaleDiscriminator, SpadeGenerator
from mtbench_plugins.translators.unsb import losses as unsb
from mtbench_plugins.translators.unsb.discriminators import TimedPatchGAN
from mtbench_plugins.translators.unsb.generator import BridgeGenerator

RELATIVE = 1e-4
LAYERS = [0, 4, 8, 12, 16]


@pytest.fixture(scope="module")
def folder() -> Path:
    root = os.environ.get("MTBENCH_TEST_DATA")
    if not root:
        pytest.skip("MTBENCH_TEST_DATA is not set: the originals' losses are not here")
    return Path(root) / "parity"


@pytest.fixture(scope="module")
def parity(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_fixture", folder / "fixture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, dict[str, float]]:
    return dict(json.loads((folder / "losses.json").read_text()))


def loaded(network: nn.Module, parity: ModuleType, name: str, seed: int) -> Any:
    network.load_state_dict(parity.weights(name, seed))
    return network


def agree(ours: dict[str, Tensor], theirs: dict[str, float]) -> None:
    assert {name: float(value) for name, value in ours.items()} == {
        name: pytest.approx(theirs[name], rel=RELATIVE) for name in ours
    }


def test_cyclegan(parity: ModuleType, expected: dict[str, dict[str, float]]) -> None:
    nets = Networks(
        G_A=loaded(ResnetGenerator(), parity, "cyclegan_1ch", 1),
        G_B=loaded(ResnetGenerator(), parity, "cyclegan_1ch", 2),
        D_A=loaded(PatchGAN(), parity, "cyclegan_1ch_D", 3),
        D_B=loaded(PatchGAN(), parity, "cyclegan_1ch_D", 4),
    )
    a, b = (parity.image((1, 1, 64, 64), 1, f"loss:{domain}") for domain in "AB")
    with torch.no_grad():
        losses, fakes = cyclegan.generator_losses(nets, a, b, cyclegan.CycleGanWeights())
        losses["D_A"] = discriminator_loss(nets.D_A, b, fakes.B)
        losses["D_B"] = discriminator_loss(nets.D_B, a, fakes.A)
    assert set(losses) == set(expected["cyclegan_1ch"])
    agree(losses, expected["cyclegan_1ch"])


@pytest.mark.parametrize("shape_loss", ["paper", "code"])
def test_maskgan(parity: ModuleType, expected: dict[str, dict[str, float]], shape_loss: maskgan.ShapeLoss) -> None:
    nets = Networks(
        G_A=loaded(AttentionGenerator(), parity, "maskgan_1ch", 1),
        G_B=loaded(AttentionGenerator(), parity, "maskgan_1ch", 2),
        D_A=loaded(PatchGAN(), parity, "maskgan_1ch_D", 3),
        D_B=loaded(PatchGAN(), parity, "maskgan_1ch_D", 4),
    )
    a, b, mask_a, mask_b = (parity.image((1, 1, 64, 64), 1, f"loss:{key}") for key in ("A", "B", "maskA", "maskB"))
    weights = maskgan.MaskGanWeights(lambda_mask=1.0, lambda_shape=0.25, shape_loss=shape_loss)
    with torch.no_grad():
        losses, fakes = maskgan.generator_losses(nets, a, b, (mask_a > 0).float(), (mask_b > 0).float(), weights)
        total = sum(losses.values(), torch.zeros(()))
        losses["D_A"] = discriminator_loss(nets.D_A, b, fakes.B)
        losses["D_B"] = discriminator_loss(nets.D_B, a, fakes.A)
    theirs = dict(expected["maskgan_1ch"])
    as_meant = theirs.pop("shapeA_as_the_paper_means_it")
    whole = theirs.pop("G")
    if shape_loss == "paper":
        theirs["shapeA"], whole = as_meant, whole + as_meant - theirs["shapeA"]
    assert set(losses) == set(theirs)
    agree({**losses, "G": total}, {**theirs, "G": whole})


@pytest.mark.parametrize("step", [0, 1, 4])
def test_unsb(parity: ModuleType, folder: Path, expected: dict[str, dict[str, float]], step: int) -> None:
    generator = loaded(BridgeGenerator(), parity, "unsb_1ch", 1)
    discriminator = loaded(TimedPatchGAN(1), parity, "unsb_1ch_D", 2)
    energy = loaded(TimedPatchGAN(4), parity, "unsb_1ch_E", 3)
    projection = loaded(PatchProjection(generator.widths(LAYERS)), parity, "unsb_1ch_F", 4)
    name = f"unsb_1ch t={step}"
    with np.load(folder / "losses_unsb.npz") as store:
        drawn = {k.split("/")[1]: torch.from_numpy(store[k]) for k in store.files if k.startswith(f"{name}/")}
    a, b = (parity.image((1, 1, 64, 64), 1, f"loss:{domain}") for domain in "AB")
    walked = unsb.WalkPair(step, 5, drawn["Xt"], drawn["Xt2"], drawn["fake_B"], drawn["fake_B2"])
    positions = [drawn[f"patch_ids{i}"].long() for i in range(10)]
    with torch.no_grad():
        ours = {
            "D": unsb.discriminator_loss(discriminator, b, walked),
            "E": unsb.energy_loss(energy, walked),
            "G_GAN": unsb.adversarial_loss(discriminator, walked),
            "SB": unsb.bridge_loss(energy, walked, unsb.UnsbWeights()),
            "NCE": unsb.contrast_loss(
                generator, projection, a, drawn["fake_B"], drawn["z_nce0"], LAYERS, positions[:5]
            ),
            "NCE_Y": unsb.contrast_loss(
                generator, projection, b, drawn["idt_B"], drawn["z_nce1"], LAYERS, positions[5:]
            ),
        }
    ours["G"] = ours["G_GAN"] + ours["SB"] + (ours["NCE"] + ours["NCE_Y"]) / 2
    assert set(ours) == set(expected[name])
    agree(ours, expected[name])


def test_spade(parity: ModuleType, expected: dict[str, dict[str, float]]) -> None:
    name = "spade_ngf16_labels4"
    generator = loaded(SpadeGenerator(4, channels=3, ngf=16), parity, name, 1)
    discriminator = loaded(MultiscaleDiscriminator(4, channels=3, ndf=16), parity, "spade_ndf16_labels4_D", 2)
    segmap = parity.onehot((2, 4, 256, 256), 1, "loss:labels")
    real = parity.image((2, 3, 256, 256), 1, "loss:real")
    with torch.no_grad():
        ours = spade.generator_losses(*spade.judge(discriminator, segmap, generator(segmap), real), 10.0)
        ours |= spade.discriminator_losses(*spade.judge(discriminator, segmap, generator(segmap), real))
    assert set(ours) == set(expected[name])
    agree(ours, expected[name])


def test_hinge_stops_at_the_margin() -> None:
    score = torch.tensor([2.0, 0.0, -3.0])
    assert float(hinge(score, real=True)) == pytest.approx((0 + 1 + 4) / 3)
    assert float(hinge(score, real=False)) == pytest.approx((3 + 1 + 0) / 3)
