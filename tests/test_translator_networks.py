"""The translators' networks put out what their originals put out."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtbench_plugins.translators._shared.blur import BlurUp
from mtbench_plugins.translators._shared.contrast import PatchProjection
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.maskgan.networks import AttentionGenerator
from mtbench_plugins.translators.pix2pix.networks import UnetGenerator
from mtbench_plugins.translators.spade.networks import MultiscaleDiscriminator, SpadeGenerator
from mtbench_plugins.translators.spade.spectral import SpectralConv2d
from mtbench_plugins.translators.unsb.bridge import Bridge
from mtbench_plugins.translators.unsb.discriminators import TimedPatchGAN
from mtbench_plugins.translators.unsb.generator import BridgeGenerator

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    root = os.environ.get("MTBENCH_TEST_DATA")
    if not root:
        pytest.skip("MTBENCH_TEST_DATA is not set: the originals' outputs are not here")
    path = Path(root) / "parity" / "fixture.py"
    spec = importlib.util.spec_from_file_location("parity_fixture", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loaded(network: nn.Module, parity: ModuleType, name: str, seed: int = 1) -> nn.Module:
    network.load_state_dict(parity.weights(name, seed))
    return network.eval()


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize("channels", [1, 3])
def test_cyclegan_generator(parity: ModuleType, channels: int) -> None:
    name = f"cyclegan_{channels}ch"
    network = loaded(ResnetGenerator(channels), parity, name)
    with torch.inference_mode():
        out = network(parity.inputs(name, 1)["x"])
    assert worst(out, parity.expected(name)["image"]) < TOLERANCE


@pytest.mark.parametrize("channels", [1, 3])
def test_maskgan_generator(parity: ModuleType, channels: int) -> None:
    name = f"maskgan_{channels}ch"
    network = loaded(AttentionGenerator(channels), parity, name)
    with torch.inference_mode():
        out = network(parity.inputs(name, 1)["x"])
    expected = parity.expected(name)
    assert worst(out.image, expected["image"]) < TOLERANCE
    assert worst(out.attentions, expected["attentions"]) < TOLERANCE
    assert worst(out.background, expected["attentions"][:, 4:]) < TOLERANCE


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_unsb_sampler_with_given_noise(parity: ModuleType, channels: int) -> None:
    name = f"unsb_{channels}ch"
    network = loaded(BridgeGenerator(channels), parity, name)
    inputs, expected = parity.inputs(name, 1), parity.expected(name)
    # The walk draws z, then for each later step first the bridge's noise and then z.
    stream = [inputs["z"][0]]
    for t in range(1, 5):
        stream += [inputs["noise"][t], inputs["z"][t]]

    def walk(source: Tensor) -> list[Tensor]:
        draws = iter(stream)

        def draw(shape: tuple[int, ...]) -> Tensor:
            noise = next(draws).to(source.dtype)
            assert tuple(noise.shape[1:]) == shape
            return noise

        with torch.inference_mode():
            return [predicted for _, predicted in Bridge().walk(network, source, 5, draw)]

    steps = walk(inputs["x"])
    nudged = inputs["x"].clone()
    nudged[:, :, 32, 32] = torch.nextafter(nudged[:, :, 32, 32], torch.tensor(2.0))
    moved = walk(nudged)
    network.double()
    exact = walk(inputs["x"].double())
    assert worst(steps[0], expected["step1"]) < TOLERANCE
    # In float32 the fifth step is not determined to 2e-5: the last bit of one input pixel moves it by more, and the
    # original's own is further than that from what float64 gives. So ours may be as far from float64 as theirs is.
    assert worst(moved[4], steps[4]) > TOLERANCE
    assert worst(expected["step5"], exact[4]) > 1.5 * TOLERANCE
    assert worst(steps[4], exact[4]) < 2 * worst(expected["step5"], exact[4])
    assert float((steps[4] - expected["step5"]).abs().mean()) < TOLERANCE / 2


def test_spade_generator(parity: ModuleType) -> None:
    name = "spade_ngf16_labels4"
    network = loaded(SpadeGenerator(4, channels=3, ngf=16), parity, name)
    with torch.inference_mode():
        out = network(parity.inputs(name, 1)["x"])
    assert worst(out, parity.expected(name)["image"]) < TOLERANCE


NAMES: dict[str, Any] = {
    "cyclegan_1ch": lambda: ResnetGenerator(1),
    "cyclegan_3ch": lambda: ResnetGenerator(3),
    "cyclegan_1ch_D": lambda: PatchGAN(1),
    "cut_1ch": lambda: ResnetGenerator(1, antialias=True),
    "cut_3ch": lambda: ResnetGenerator(3, antialias=True),
    "cut_1ch_D": lambda: PatchGAN(1, antialias=True),
    "cut_1ch_F": lambda: PatchProjection([1, 128, 256, 256, 256]),
    "pix2pix_1ch": lambda: UnetGenerator(1, 32),
    "pix2pix_3ch": lambda: UnetGenerator(3, 32),
    "pix2pix_1ch_D": lambda: PatchGAN(2, norm="batch"),
    "maskgan_1ch": lambda: AttentionGenerator(1),
    "maskgan_3ch": lambda: AttentionGenerator(3),
    "maskgan_1ch_D": lambda: PatchGAN(1),
    "unsb_1ch": lambda: BridgeGenerator(1),
    "unsb_3ch": lambda: BridgeGenerator(3, timed=True),
    "unsb_1ch_D": lambda: TimedPatchGAN(1),
    "unsb_1ch_E": lambda: TimedPatchGAN(4),
    "unsb_1ch_F": lambda: PatchProjection(BridgeGenerator(1).widths([0, 4, 8, 12, 16])),
    "spade_ngf16_labels4": lambda: SpadeGenerator(4, channels=3, ngf=16),
    "spade_ndf16_labels4_D": lambda: MultiscaleDiscriminator(4, channels=3, ndf=16),
}


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_has_the_originals_names_and_shapes(parity: ModuleType, name: str) -> None:
    state = {key: tuple(value.shape) for key, value in NAMES[name]().state_dict().items()}
    assert state == parity.keys(name)


def test_unsb_ignores_time_as_released_and_heeds_it_when_corrected() -> None:
    torch.manual_seed(0)
    released, corrected = BridgeGenerator(1, 8, 2), BridgeGenerator(1, 8, 2, timed=True)
    corrected.load_state_dict(released.state_dict())
    x, z = torch.randn(2, 1, 32, 32), torch.randn(2, 32)
    early, late = torch.zeros(2, dtype=torch.int64), torch.full((2,), 4)
    with torch.inference_mode():
        assert torch.equal(released(x, early, z), released(x, late, z))
        assert not torch.allclose(corrected(x, early, z), corrected(x, late, z), atol=1e-3)


def test_unsb_weights_without_effect_are_frozen_and_survive_a_round_trip() -> None:
    network = BridgeGenerator(1, 8, 2)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {
        f"{stem}.{leaf}"
        for stem in (
            "time_embed.0",
            "time_embed.2",
            *(f"model_res.{i}.{s}" for i in (0, 1) for s in ("conv_block.1", "Dense_time", "style")),
        )
        for leaf in ("weight", "bias")
    }
    x, z = torch.randn(1, 1, 32, 32), torch.randn(1, 32)
    network(x, torch.zeros(1, dtype=torch.int64), z).sum().backward()
    assert all((p.grad is None) == (name in frozen) for name, p in network.named_parameters())
    again = BridgeGenerator(1, 8, 2)
    again.load_state_dict(network.state_dict())
    pairs = zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_time_grid_of_five_steps() -> None:
    assert Bridge(5).grid == pytest.approx((0.0, 0.5, 0.74, 0.86, 0.94, 1.0))
    assert Bridge(2).grid == pytest.approx((0.0, 0.5, 1.0))


def test_unsb_reaches_the_points_it_walks_through() -> None:
    torch.manual_seed(0)
    network, bridge, x = BridgeGenerator(1, 4, 2), Bridge(z_width=16), torch.randn(2, 1, 16, 16)

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.randn((2, *shape))

    with torch.inference_mode():
        torch.manual_seed(1)
        walked = [point for point, _ in bridge.walk(network, x, 4, draw)]
        torch.manual_seed(1)
        assert torch.equal(bridge.reach(network, x, 3, draw), walked[3])
    assert torch.equal(walked[0], x)


def test_unsb_feature_maps_have_the_told_sizes_and_widths() -> None:
    network, layers = BridgeGenerator(1, 4, 3), list(range(15))
    x, step, z = torch.randn(1, 1, 24, 32), torch.zeros(1, dtype=torch.int64), torch.randn(1, 16)
    with torch.inference_mode():
        maps = network.features(x, step, z, layers)
    assert [tuple(m.shape[2:]) for m in maps] == network.map_sizes(24, 32, layers)
    assert [m.shape[1] for m in maps] == network.widths(layers)


def test_spectral_convolution_ends_with_a_largest_singular_value_of_one() -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 5, 3)
    for _ in range(100):
        weight = conv.weight()
    assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1.0, abs=1e-5)
    before = conv.weight_u.clone()
    conv.eval().weight()
    assert torch.equal(before, conv.weight_u)


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_small_networks_at_small_sizes(size: tuple[int, int]) -> None:
    x = torch.rand(2, 1, *size) * 2 - 1
    step = torch.zeros(2, dtype=torch.int64)
    assert ResnetGenerator(1, 4, 2)(x).shape == x.shape
    assert AttentionGenerator(1, 4, 2)(x).image.shape == x.shape
    assert BridgeGenerator(1, 4, 2)(x, step, torch.randn(2, 16)).shape == x.shape
    assert SpadeGenerator(3, 1, 4, 8)(torch.rand(2, 3, *size)).shape == x.shape


def test_blur_up_gives_the_same_with_and_without_gradients() -> None:
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    layer = BlurUp(3)
    with torch.no_grad():
        fast = layer(x)
    assert fast.shape == (2, 3, 10, 16)
    torch.testing.assert_close(fast, layer(x), rtol=0, atol=1e-6)


def test_a_kept_spectral_weight_is_made_anew_when_what_it_is_made_of_changes() -> None:
    torch.manual_seed(0)
    layer, other = SpectralConv2d(2, 3, 3).eval(), SpectralConv2d(2, 3, 3).eval()
    with torch.no_grad():
        kept = layer.weight()
        assert layer.weight() is kept
        layer.load_state_dict(other.state_dict())
        assert torch.equal(layer.weight(), other.weight())
        layer.weight_orig.mul_(2.0)
        # What is divided and the largest singular value grow alike.
        torch.testing.assert_close(layer.weight(), other.weight())
        assert layer.weight() is not other.weight()
    before = layer.weight().detach()
    layer.train()
    layer(torch.randn(1, 2, 5, 5))
    layer.eval()
    with torch.no_grad():
        assert not torch.equal(layer.weight(), before)
    with torch.inference_mode():
        output = SpectralConv2d(2, 3, 3).eval()
        assert output.weight() is output.weight()
