"""The Inception extractors: the network against its published forms, conventions, weight files, arithmetic."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inception_peers import State, drawn, peer, shared_state, slices, tensor
from PIL import Image
from torch.nn import functional as F

from mtbench import WeightsError
from mtbench.compute.context import Context
from mtbench.registry.discovery import discover
from mtbench_plugins.extractors.inception_extractors import InceptionFid, InceptionImagenet, InceptionRandom
from mtbench_plugins.extractors.inception_net import expected_shapes
from mtbench_plugins.extractors.inception_weights import load_state
from mtbench_plugins.extractors.resizing import resize
from mtbench_plugins.extractors.sharing import by_threads

CLOSE = 1e-4


@pytest.fixture(scope="module")
def state() -> State:
    return shared_state()


@pytest.fixture(scope="module")
def weights(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(state, path)
    return path


def ours(weights: Path, **changes: Any) -> InceptionFid:
    settings = {"resize": "tf1", "scaling": "tf", "quantise": True, "weights": str(weights), **changes}
    return InceptionFid(**settings)


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((first - second).abs().max() / second.abs().max())


def torch_fidelity_net(weights: Path) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("peer", ["2048", "logits_unbiased"], str(weights))


def layers(net: Any, x: torch.Tensor) -> torch.Tensor:
    """Features by torch-fidelity's layers, one after the other, without its resize."""
    for name, layer in net.named_children():
        x = x if name == "fc" else layer(x)
    return x[:, :, 0, 0]


def samples(kind: str) -> np.ndarray:
    """Stored images, N x H x W."""
    if kind == "lumbar 256x256":
        return slices("lumbar_mr/philips_t1/images", 2)
    if kind == "breast 224x224":
        return slices("breast_mr/ge", 2)
    if kind == "lumbar 256x180":
        return slices("lumbar_mr/siemens_t2/images", 2)[:, :, 40:220]
    if kind == "16 bit":
        levels = slices("lumbar_mr/siemens_t2/images", 2).astype(np.uint16) * 257
        return levels + np.random.default_rng(0).integers(0, 128, levels.shape).astype(np.uint16) * (levels < 65000)
    if kind == "constant":
        return np.stack([np.full((256, 256), level, np.uint8) for level in (77, 255)])
    if kind == "large 320x410":
        return drawn(2, 320, 416)[:, :, :410]
    return drawn(2, 64, 64)


KINDS = [
    "lumbar 256x256",
    "breast 224x224",
    "lumbar 256x180",
    "16 bit",
    "constant",
    "large 320x410",
    "drawn 64x64",
]


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_torch_fidelitys(kind: str, weights: Path) -> None:
    stored = samples(kind)
    levels = stored if stored.dtype == np.uint8 else np.rint(stored / 257).astype(np.uint8)
    with peer("torch_fidelity"):
        rgb = torch.from_numpy(levels)[:, None].repeat(1, 3, 1, 1)
        pool, logits = torch_fidelity_net(weights)(rgb)
    mine = ours(weights).extract(tensor(stored), Context())
    assert mine["pool"].shape == (len(stored), 2048)
    assert mine["logits"].shape == (len(stored), 1008)
    assert apart(mine["pool"], pool) < CLOSE
    assert apart(mine["logits"], logits) < CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_pytorch_fids(kind: str, weights: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = samples(kind)
    levels = stored if stored.dtype == np.uint8 else np.rint(stored / 257).astype(np.uint8)
    with peer("pytorch_fid"):
        from pytorch_fid import inception

        monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *args, **options: state)
        net = inception.InceptionV3().eval()
        pool = net(tensor(levels).repeat(1, 3, 1, 1))[0][:, :, 0, 0]
    mine = ours(weights, resize="bilinear", scaling="symmetric").extract(tensor(stored), Context())
    assert apart(mine["pool"], pool) < CLOSE


def test_we_are_as_near_to_float64_as_torch_fidelity(weights: Path) -> None:
    stored = drawn(2, 256, 256)
    with peer("torch_fidelity"):
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        net = torch_fidelity_net(weights)
        levels = torch.from_numpy(stored)[:, None].float()
        x = (interpolate_bilinear_2d_like_tensorflow1x(levels, size=(299, 299), align_corners=False) - 128) / 128
        theirs = net(torch.from_numpy(stored)[:, None].repeat(1, 3, 1, 1))[0]
        exact = layers(net.double(), x.double().repeat(1, 3, 1, 1))
    mine = ours(weights).extract(tensor(stored), Context())["pool"]
    assert apart(mine, exact) < 2 * apart(theirs, exact)


def test_features_are_clean_fids(weights: Path) -> None:
    stored = drawn(2, 256, 256)
    with peer("torch_fidelity"), peer("cleanfid"):
        from cleanfid.resize import build_resizer

        resized = np.stack([build_resizer("clean")(np.repeat(image[:, :, None], 3, 2)) for image in stored])
        net = torch_fidelity_net(weights)
        x = (torch.from_numpy(resized).permute(0, 3, 1, 2) - 128) / 128
        # clean-fid runs the network without its own resize, on floats.
        pool = layers(net, x)
    mine = ours(weights, resize="clean").extract(tensor(stored), Context())
    assert apart(mine["pool"], pool) < CLOSE


def test_imagenet_network_is_torchvisions(state: State, tmp_path: Path) -> None:
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, init_weights=False, aux_logits=True, num_classes=1000).eval()
    published = {**net.state_dict(), **{name: value for name, value in state.items() if name.startswith(("C", "M"))}}
    net.load_state_dict(published)
    torch.save(published, tmp_path / "imagenet.pth")
    stored = drawn(2, 256, 256)
    extractor = InceptionImagenet("bilinear", "symmetric", True, str(tmp_path / "imagenet.pth"))
    mine = extractor.extract(tensor(stored), Context())["logits"]
    x = F.interpolate(tensor(stored), size=(299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        logits = net(2 * x.repeat(1, 3, 1, 1) - 1)
    assert apart(mine, logits) < CLOSE


@pytest.mark.parametrize("size", [(256, 256), (299, 299), (64, 80), (512, 400), (3, 1)])
def test_resizing(size: tuple[int, int]) -> None:
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 1, *size)).astype(np.float32))
    expected = F.interpolate(levels, size=(299, 299), mode="bilinear", align_corners=False)
    assert torch.allclose(resize(levels, "bilinear", 299), expected, atol=1e-3)
    pillow = np.asarray(Image.fromarray(levels[0, 0].numpy()).resize((299, 299), Image.Resampling.BICUBIC))
    assert np.allclose(resize(levels, "clean", 299)[0, 0].numpy(), pillow.clip(0, 255), atol=1e-3)
    with peer("torch_fidelity"):
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        tensorflow = interpolate_bilinear_2d_like_tensorflow1x(levels, size=(299, 299), align_corners=False)
    assert torch.allclose(resize(levels, "tf1", 299), tensorflow, atol=1e-3)


def test_resizings_differ_where_they_should() -> None:
    levels = torch.from_numpy(drawn(1, 256, 256).astype(np.float32))[:, None]
    resized = {kind: resize(levels, kind, 299) for kind in ("tf1", "bilinear", "clean")}
    assert (resized["tf1"] - resized["bilinear"]).abs().max() > 1
    assert (resized["clean"] - resized["bilinear"]).abs().max() > 1
    # An image that has the network's size already is not touched.
    exact = torch.arange(299.0 * 299).remainder(256).reshape(1, 1, 299, 299)
    assert all(torch.equal(resize(exact, kind, 299), exact) for kind in resized)


def test_eight_bit_levels_are_recovered_exactly(weights: Path) -> None:
    levels = torch.arange(256.0).repeat(256, 1)[None, None]
    for stored in (np.arange(256, dtype=np.uint8), (np.arange(256) * 257).astype(np.uint16)):
        images = tensor(np.tile(stored, (1, 256, 1)))
        assert torch.equal(ours(weights).prepare(images), (resize(levels, "tf1", 299) - 128) / 128)
    # Without quantising, what lies between the levels enters too.
    between = tensor(np.full((1, 8, 8), 1000, np.uint16))
    assert torch.allclose(ours(weights).prepare(between), torch.tensor((4 - 128) / 128))
    full = ours(weights, quantise=False).prepare(between)
    assert torch.allclose(full, torch.tensor((1000 / 257 - 128) / 128))


def test_both_key_layouts_are_read(weights: Path, state: State, tmp_path: Path) -> None:
    short = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert (len(state), len(short)) == (566, 472)
    torch.save(short, tmp_path / "short.pth")
    first, second = load_state(weights, 1008), load_state(tmp_path / "short.pth", 1008)
    assert list(first) == list(second) == list(expected_shapes(1008))
    assert all(torch.equal(first[name], second[name]) for name in first)


def _without(state: State) -> object:
    return {name: value for name, value in state.items() if name != "Mixed_5b.branch1x1.conv.weight"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without, r"another network: 1 entries missing \(Mixed_5b\.branch1x1\.conv\.weight\)"),
        (lambda s: {**s, "fc.weight": torch.zeros(1000, 2048)}, r"fc\.weight \(1000, 2048\) instead of \(1008, 2048\)"),
        (lambda s: {**s, "AuxLogits.fc.weight": torch.zeros(2)}, r"1 entries unknown \(AuxLogits\.fc\.weight\)"),
        (lambda s: {**s, "fc.bias": torch.full((1008,), torch.nan)}, r"fc\.bias holds NaN"),
        (lambda s: [1, 2], r"holds list, not a state dict"),
        (lambda s: {"state_dict": s}, r"not a state dict"),
    ],
)
def test_weights_of_another_network_are_refused(change: Any, reason: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / "wrong.pth"
    torch.save(change(state), path)
    with pytest.raises(WeightsError, match=reason) as caught:
        ours(path).extract(torch.zeros(1, 1, 8, 8), Context())
    assert str(path) in str(caught.value)


def test_files_that_are_no_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(weights.read_bytes()[:100_000])
    page = tmp_path / "page.pth"
    page.write_text("<html>not found</html>")
    for path, words in ((truncated, "cannot be read as weights"), (page, "this is a web page")):
        with pytest.raises(WeightsError, match=words):
            load_state(path, 1008)
    with pytest.raises(WeightsError, match="this weight file does not exist"):
        load_state(tmp_path / "absent.pth", 1008)


def test_catalogued_weights_come_through_the_context(weights: Path) -> None:
    names: list[str] = []

    def find(name: str) -> Path:
        names.append(name)
        return weights

    extractor = InceptionFid("tf1", "tf", True)
    extractor.extract(torch.zeros(1, 1, 8, 8), Context(find_weights=find))
    assert names == ["inception-fid"]
    assert len(extractor.weights_sha256) == 64


def test_batches_do_not_change_features(weights: Path) -> None:
    extractor = ours(weights)
    images = tensor(drawn(5, 96, 96))
    together = extractor.extract(images, Context())["pool"]
    alone = torch.cat([extractor.extract(image[None], Context())["pool"] for image in images])
    assert apart(alone, together) < 1e-5


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_do_not_change_features(weights: Path, precision: str) -> None:
    """Each has images of its own; those that share one would add in another order."""
    extractor, images = ours(weights), tensor(drawn(3, 96, 96))
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(extractor.extract(images, Context(precision=precision)))
        assert torch.get_num_threads() == count
    for name in ("pool", "logits"):
        assert torch.equal(results[1][name], results[0][name])
        assert torch.equal(results[2][name], results[0][name])


@pytest.mark.usefixtures("threads")
def test_a_batch_shared_among_threads() -> None:
    torch.set_num_threads(3)
    used = set()

    def work(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        used.add((threading.get_ident(), torch.get_num_threads(), torch.is_grad_enabled()))
        if part.isnan().any():
            raise ValueError("not a number")
        return part + 1, part.sum(1)

    images = torch.arange(14.0).reshape(7, 2)
    more, sums = by_threads(work, images)
    assert torch.equal(more, images + 1)
    assert torch.equal(sums, images.sum(1))
    assert {(count, grad) for _, count, grad in used} == {(1, False)}
    assert by_threads(work, images[:1])[1].shape == (1,)
    with pytest.raises(ValueError, match="not a number"):
        by_threads(work, images.where(images != 9, torch.nan))
    assert torch.get_num_threads() == 3
    thread = threading.Thread(target=lambda: used.add(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert 3 in used


def test_bf16_is_near_and_is_not_the_same(weights: Path) -> None:
    extractor = ours(weights)
    images = tensor(drawn(2, 256, 256))
    exact = extractor.extract(images, Context())["pool"]
    rough = extractor.extract(images, Context(precision="bf16"))["pool"]
    assert rough.dtype == torch.float32
    assert 1e-3 < float((rough - exact).norm() / exact.norm()) < 0.2
    # One object serves both without mixing them up.
    assert torch.equal(extractor.extract(images, Context())["pool"], exact)


def test_random_features_are_seeded_and_tell_images_apart() -> None:
    images = tensor(drawn(6, 96, 96))

    def features(seed: int, count: int) -> torch.Tensor:
        return InceptionRandom("tf1", "tf", True, seed).extract(images[:count], Context())["pool"]

    first = features(0, 6)
    assert torch.equal(features(0, 6), first)
    assert apart(features(1, 1), first[:1]) > 0.1
    assert 0.05 < float(first.mean()) < 1
    spread = torch.linalg.svdvals((first - first.mean(0)).double()).square()
    # Not all on one line, as plain random filters would have it.
    assert float(spread.sum() ** 2 / spread.square().sum()) > 2.5


def test_the_specs_are_registered_and_light() -> None:
    registry = discover(third_party=False)
    for name in ("inception-fid", "inception-imagenet", "inception-random"):
        registration = registry.get("extractor", name)
        assert registration.spec.arrays == ("pool", "logits")
        assert registration.create(registry.get("extractor", name).complete({})).weights_sha256 == ""
    assert registry.get("extractor", "inception-random").spec.caveat
    assert registry.get("extractor", "inception-fid").spec.weights == ("inception-fid",)
    modules = [f"mtbench_plugins.{m}" for m in ["extractors.inception", "metrics.fid", "metrics.kid"]]
    code = (
        f"import sys, {', '.join(modules)}, mtbench_plugins.metrics.inception_score;"
        "print(sorted({'torch', 'torchvision', 'scipy'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
