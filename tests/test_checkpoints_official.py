"""Official weight files: what loads, what is inferred, and what is refused in which words."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtbench import Batch, Slice, Task, WeightsError
from mtbench.compute.context import Context
from mtbench.registry.params import complete
from mtbench.registry.specs import TranslatorSpec
from mtbench_plugins.translators._shared.checkpoint import read
from mtbench_plugins.translators._shared.patchgan import PatchGAN
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.maskgan.networks import AttentionGenerator
from mtbench_plugins.translators.pix2pix.networks import UnetGenerator
from mtbench_plugins.translators.spade.networks import MultiscaleDiscriminator, SpadeGenerator
from mtbench_plugins.translators.spade.spectral import SpectralConv2d
from mtbench_plugins.translators.unsb.discriminators import TimedPatchGAN
from mtbench_plugins.translators.unsb.generator import BridgeGenerator

TASK = Task("toy", labels={1: "disc", 2: "ring"}, masks=frozenset({"source", "target"}))
NAMES = ("cyclegan", "maskgan", "unsb", "spade", "cut", "pix2pix")


def spec(name: str) -> TranslatorSpec:
    entry = next(iter(import_module(f"mtbench_plugins.translators.{name}").mtbench_translators()))
    assert isinstance(entry, TranslatorSpec)
    return entry


def translator(name: str, **params: Any) -> Any:
    module, _, attribute = spec(name).factory.partition(":")
    return getattr(import_module(module), attribute)(**complete(params, spec(name).params, name))


def generator(name: str, channels: int = 1, blocks: int = 2) -> nn.Module:
    torch.manual_seed(0)
    makers: dict[str, Callable[[], nn.Module]] = {
        "cyclegan": lambda: ResnetGenerator(channels, 4, blocks),
        "maskgan": lambda: AttentionGenerator(channels, 4, blocks, 3),
        "unsb": lambda: BridgeGenerator(channels, 4, blocks),
        "spade": lambda: SpadeGenerator(3, channels, 4, 8),
        "cut": lambda: ResnetGenerator(channels, 4, blocks, antialias=True),
        "pix2pix": lambda: UnetGenerator(channels, 4, 5),
        "pix2pix resnet": lambda: ResnetGenerator(channels, 4, blocks, norm="batch"),
    }
    return makers[name]()


def batch(n: int = 2, size: int = 32) -> Batch:
    rng = np.random.default_rng(0)
    slices = tuple(Slice(f"s{i}", f"p{i}", f"c{i}") for i in range(n))
    images = torch.from_numpy(rng.random((n, 1, size, size), dtype=np.float32))
    return Batch(images, slices, torch.from_numpy(rng.integers(0, 3, (n, size, size))))


def translate(name: str, path: Path, **params: Any) -> Tensor:
    output: Tensor = translator(name, checkpoint=str(path), **params).translate(batch(), Context(task=TASK, seed=3))
    return output


def saved(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_needs_no_options(name: str, channels: int, tmp_path: Path) -> None:
    network = generator(name, channels)
    out = translate(name, saved(network.state_dict(), tmp_path / "latest_net_G.pth"))
    assert out.shape == (2, 1, 32, 32)
    assert 0 <= float(out.min()) < float(out.max()) <= 1
    if name == "cyclegan":
        with torch.inference_mode():
            plain = network((batch().source * 2 - 1).expand(-1, channels, -1, -1)).mean(1, keepdim=True)
        torch.testing.assert_close(out, (plain + 1) / 2, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_module_prefix_and_metadata_do_not_matter(name: str, tmp_path: Path) -> None:
    state = generator(name).state_dict()
    wrapped = OrderedDict((f"module.{key}", value) for key, value in state.items())
    wrapped._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    plain = translate(name, saved(state, tmp_path / "plain.pth"))
    assert torch.equal(plain, translate(name, saved(wrapped, tmp_path / "wrapped.pth")))


def test_running_statistics_of_instance_norm_are_dropped(tmp_path: Path) -> None:
    state = dict(generator("cyclegan").state_dict())
    plain = translate("cyclegan", saved(state, tmp_path / "plain.pth"))
    for stem, width in (("model.2", 4), ("model.10.conv_block.2", 16)):
        state[f"{stem}.running_mean"] = torch.randn(width)
        state[f"{stem}.running_var"] = torch.rand(width)
        state[f"{stem}.num_batches_tracked"] = torch.tensor(7)
    assert torch.equal(plain, translate("cyclegan", saved(state, tmp_path / "old.pth")))


def test_keys_shifted_by_dropout_are_recognised(tmp_path: Path) -> None:
    state = generator("cyclegan").state_dict()
    shifted = {key.replace("conv_block.5.", "conv_block.6."): value for key, value in state.items()}
    assert shifted.keys() != state.keys()
    plain = translate("cyclegan", saved(state, tmp_path / "plain.pth"))
    assert torch.equal(plain, translate("cyclegan", saved(shifted, tmp_path / "dropout.pth")))


@pytest.mark.parametrize("dropped", [False, True])
def test_a_residual_generator_of_pix2pix_loads_with_the_names_of_dropout(dropped: bool, tmp_path: Path) -> None:
    state = generator("pix2pix resnet").state_dict()
    if dropped:
        behind = {"conv_block.5.": "conv_block.6.", "conv_block.6.": "conv_block.7."}
        state = {
            next((key.replace(a, b) for a, b in behind.items() if a in key), key): value for key, value in state.items()
        }
    with torch.inference_mode():
        plain = generator("pix2pix resnet").eval()(batch().source * 2 - 1)
    out = translate("pix2pix", saved(state, tmp_path / "latest_net_G.pth"))
    torch.testing.assert_close(out, (plain + 1) / 2, atol=2e-5, rtol=0)


def test_errors_about_options_of_pix2pix_use_the_names_of_its_parameters(tmp_path: Path) -> None:
    path = saved(generator("pix2pix").state_dict(), tmp_path / "G.pth")
    with pytest.raises(WeightsError, match=r"5 halvings in its U-Net \(n_downs\), not 6"):
        translate("pix2pix", path, n_downs=6)
    with pytest.raises(WeightsError, match=r"unet as its generator \(netG\), not resnet"):
        translate("pix2pix", path, netG="resnet")
    state = {**generator("pix2pix").state_dict(), "model.model.0.bias": torch.zeros(4)}
    with pytest.raises(WeightsError, match="trained with instance norm"):
        translate("pix2pix", saved(state, tmp_path / "instance.pth"))


def test_spade_files_without_right_singular_vectors(tmp_path: Path) -> None:
    network = generator("spade")
    for module in network.modules():
        if isinstance(module, SpectralConv2d):
            for _ in range(20):
                module.weight()
    state = network.state_dict()
    plain = translate("spade", saved(state, tmp_path / "plain.pth"))
    older = {key: value for key, value in state.items() if not key.endswith("weight_v")}
    assert len(older) < len(state)
    torch.testing.assert_close(plain, translate("spade", saved(older, tmp_path / "old.pth")), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["cyclegan", "maskgan", "unsb", "cut"])
def test_an_option_that_differs_is_told_in_the_users_terms(name: str, tmp_path: Path) -> None:
    path = saved(generator(name, blocks=6).state_dict(), tmp_path / "G.pth")
    with pytest.raises(WeightsError, match=r"6 residual blocks, not 9.*Set n_blocks=6"):
        translate(name, path, n_blocks=9)
    with pytest.raises(WeightsError, match=r"has 1 image channels, not 3.*Set channels=1"):
        translate(name, path, channels=3)


OTHERS: dict[str, Any] = {
    "a CycleGAN generator": lambda: generator("cyclegan"),
    "a MaskGAN generator": lambda: generator("maskgan"),
    "a UNSB generator": lambda: generator("unsb"),
    "a SPADE generator": lambda: generator("spade"),
    "a CUT generator": lambda: generator("cut"),
    "a U-Net generator of pix2pix": lambda: generator("pix2pix"),
    "a residual generator of pix2pix": lambda: generator("pix2pix resnet"),
    "a discriminator of CycleGAN or MaskGAN": lambda: PatchGAN(1, 4),
    "a discriminator of CUT": lambda: PatchGAN(1, 4, antialias=True),
    "a discriminator of pix2pix": lambda: PatchGAN(2, 4, norm="batch"),
    "a UNSB discriminator": lambda: TimedPatchGAN(1, 4),
    "a SPADE discriminator": lambda: MultiscaleDiscriminator(3, 1, 4),
    "an unknown network": lambda: nn.Linear(2, 2),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (n, k)
        for n in NAMES
        for k in OTHERS
        if k.casefold() != f"a {n} generator" and not k.endswith(f"generator of {n}")
    ],
)
def test_another_models_file_is_named(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"holds {kind}.*Expected a .* generator"):
        translate(name, saved(OTHERS[kind]().state_dict(), tmp_path / "net.pth"))


class Harmful:
    """Runs a command when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.touched,))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n", "git-LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (gzip.compress(b"weights", mtime=0), "a gzip file"),
        (b"\x10\0\0\0\0\0\0\0{}", "a safetensors file"),
        (b"some text", "not a torch weight file"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        read(tmp_path / "a.pth")
    assert "pickled code" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_state_dict_inside_a_checkpoint_of_a_training_is_opened(tmp_path: Path) -> None:
    state = generator("cyclegan").state_dict()
    plain = translate("cyclegan", saved(state, tmp_path / "plain.pth"))
    inside = {"epoch": 3, "net_G": state, "net_D": PatchGAN(1, 4).state_dict()}
    assert torch.equal(plain, translate("cyclegan", saved(inside, tmp_path / "training.pth")))
    both = saved({"netG_A": state, "netG_B": state, "more": state}, tmp_path / "both.pth")
    with pytest.raises(WeightsError, match=r"3 sets of weights: netG_A .*, netG_B .*part='netG_A'"):
        read(tmp_path / both)


def test_an_unknown_network_is_pointed_to_a_plugin_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="mtbench new translator NAME --wrap checkpoint"):
        translate("cyclegan", saved(nn.Linear(2, 2).state_dict(), tmp_path / "mine.pth"))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = saved({"model.1.weight": Harmful(tmp_path / "ran")}, tmp_path / "G.pth")
    with pytest.raises(WeightsError, match=r"pickled code.*never runs"):
        translate("cyclegan", path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(WeightsError, match="pickled code"):
        translate("cyclegan", saved(nn.Conv2d(1, 1, 1), tmp_path / "whole.pth"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_called_so(share: float, tmp_path: Path) -> None:
    path = saved(generator("cyclegan").state_dict(), tmp_path / "G.pth")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match="truncated or damaged"):
        translate("cyclegan", path)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        translate("cyclegan", tmp_path / "missing.pth")
    saved({}, tmp_path / "latest_net_G_A.pth")
    with pytest.raises(WeightsError, match=r"folder.*latest_net_G_A\.pth"):
        translate("cyclegan", tmp_path)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightsError, match="cannot be read"):
        translate("cyclegan", tmp_path / "text.pth")
    for nothing in ({}, [torch.zeros(1)], {"epoch": 3}):
        with pytest.raises(WeightsError, match="no state dict"):
            translate("cyclegan", saved(nothing, tmp_path / "other.pth"))


def test_wrong_channels_are_refused(tmp_path: Path) -> None:
    for channels in (2, 4):
        path = saved(generator("cyclegan", channels).state_dict(), tmp_path / "G.pth")
        with pytest.raises(WeightsError, match=f"has {channels} input and {channels} output channels"):
            translate("cyclegan", path)
    for name in ("cut", "pix2pix", "pix2pix resnet"):
        path = saved(generator(name, 2).state_dict(), tmp_path / "G.pth")
        with pytest.raises(WeightsError, match="has 2 input and 2 output channels"):
            translate(name.partition(" ")[0], path)
    state = generator("cyclegan").state_dict()
    state["model.19.weight"] = torch.zeros(3, 4, 7, 7)
    with pytest.raises(WeightsError, match="1 input and 3 output channels"):
        translate("cyclegan", saved(state, tmp_path / "G.pth"))


def test_damaged_contents_are_refused(tmp_path: Path) -> None:
    state = generator("cyclegan").state_dict()
    without = {key: value for key, value in state.items() if key != "model.4.bias"}
    with pytest.raises(WeightsError, match=r"1 are missing \(model\.4\.bias\)"):
        translate("cyclegan", saved(without, tmp_path / "G.pth"))
    with pytest.raises(WeightsError, match=r"1 are unknown \(extra\)"):
        translate("cyclegan", saved({**state, "extra": torch.zeros(1)}, tmp_path / "G.pth"))
    with pytest.raises(WeightsError, match=r"model\.4\.bias has shape \(9,\)"):
        translate("cyclegan", saved({**state, "model.4.bias": torch.zeros(9)}, tmp_path / "G.pth"))
    with pytest.raises(WeightsError, match="not finite"):
        translate("cyclegan", saved({**state, "model.4.bias": torch.full((8,), torch.nan)}, tmp_path / "G.pth"))


def test_variants_that_do_not_exist_here_are_named(tmp_path: Path) -> None:
    cyclegan = {**generator("cyclegan").state_dict(), "model.2.weight": torch.ones(4)}
    with pytest.raises(WeightsError, match="batch norm"):
        translate("cyclegan", saved(cyclegan, tmp_path / "G.pth"))
    spade = generator("spade").state_dict()
    with pytest.raises(WeightsError, match="use_vae"):
        translate("spade", saved({**spade, "fc.weight": torch.zeros(64, 256)}, tmp_path / "G.pth"))
    most = {**spade, "up_4.conv_0.weight_orig": torch.zeros(1)}
    with pytest.raises(WeightsError, match="most"):
        translate("spade", saved(most, tmp_path / "G.pth"))


def test_spade_refuses_a_task_with_other_labels(tmp_path: Path) -> None:
    path = saved(generator("spade").state_dict(), tmp_path / "G.pth")
    other = Context(task=Task("other", labels={1: "disc"}))
    with pytest.raises(WeightsError, match="has 3 labels and the task has 2"):
        translator("spade", checkpoint=str(path)).translate(batch(), other)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_needs_no_fit_and_its_terms_are_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(b"weights")
    declared = spec(name)
    assert callable(declared.trains)
    assert declared.notes is not None
    assert declared.trains({"checkpoint": None})
    assert not declared.trains({"checkpoint": str(path)})
    assert declared.notes({"checkpoint": None}) == ""
    note = declared.notes({"checkpoint": str(path)})
    assert "latest_net_G.pth" in note
    assert str(tmp_path) not in note
    assert hashlib.sha256(b"weights").hexdigest() in note
    terms = {"maskgan": "without a licence", "unsb": "MIT", "spade": "CC BY-NC-SA 4.0"}
    assert terms.get(name, "BSD") in note
