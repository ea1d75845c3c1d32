"""DINOv2, CLIP and RadImageNet with random weights: names, shapes, preprocessing, and features of small networks.

Small networks are compared with timm 1.0.31 and open_clip_torch 3.3.0, with the weights of ``transformer_layouts``.
The published weights are not part of these tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet50
from transformer_layouts import SMALL_CLIP, SMALL_DINO, Shapes, formula, published_clip, published_dino

from mtbench import Context, WeightsError
from mtbench_plugins.extractors.pretrained_extractors import Clip, DinoV2, RadImageNet, fill
from mtbench_plugins.extractors.vision_transformer import CLIP_LARGE_336, DINOV2_LARGE, Form, VisionTransformer


def written(path: Path, shapes: Shapes) -> dict[str, Any]:
    torch.save({name: formula(name, shape) for name, shape in shapes.items()}, path)
    return {"weights": str(path), "quantise": True}


def images(count: int = 2, side: tuple[int, int] = (40, 52)) -> torch.Tensor:
    return torch.rand(count, 1, *side, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("extractor", "shapes", "form"),
    [(DinoV2, published_dino(DINOV2_LARGE), DINOV2_LARGE), (Clip, published_clip(CLIP_LARGE_336), CLIP_LARGE_336)],
)
def test_the_entries_of_published_files_are_those_of_the_full_network(
    extractor: Callable[..., Any], shapes: Shapes, form: Form
) -> None:
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
        network = VisionTransformer(form)
    named = extractor(None, True).named(state)
    assert {n: v.shape for n, v in named.items()} == {n: v.shape for n, v in network.state_dict().items()}


def test_the_large_networks_have_their_published_sizes() -> None:
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in VisionTransformer(form).parameters()) for form in (DINOV2_LARGE, CLIP_LARGE_336)
        ]
    # DINOv2's model card: 304 M. CLIP: 304 M in the image tower with its projection.
    assert [round(size / 1e6) for size in sizes] == [304, 304]


def test_small_transformers_give_the_numbers_of_timm_and_open_clip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(DinoV2, "form", SMALL_DINO)
    monkeypatch.setattr(Clip, "form", SMALL_CLIP)
    waves = torch.tensor(np.sin(np.arange(2 * 3 * 28 * 28) * 0.37).reshape(2, 3, 28, 28), dtype=torch.float32)
    found = []
    for extractor, shapes in ((DinoV2, published_dino(SMALL_DINO)), (Clip, published_clip(SMALL_CLIP))):
        model = extractor(**written(tmp_path / "weights.pth", shapes))
        with torch.inference_mode():
            found.append(model._loaded()(waves))
    dino, clip = found
    assert dino[:, :4].numpy() == pytest.approx(
        np.array([[1.079366, -0.177302, -1.027516, 0.968187], [1.078280, -0.174638, -1.029675, 0.967101]]), abs=2e-5
    )
    assert dino.abs().sum(1).numpy() == pytest.approx([28.881907, 28.886217], abs=2e-4)
    expected = [
        [-2.103452, 0.120012, 1.972341, -2.274764, 0.512803, 1.714534, -2.385905, 0.892030],
        [-2.118198, 0.147566, 1.956985, -2.285541, 0.539934, 1.695672, -2.392429, 0.918019],
    ]
    assert clip.numpy() == pytest.approx(np.array(expected), abs=5e-5)


def test_positions_are_resized_as_dinov2_does() -> None:
    form = Form(42, 14, 4, 1, 2, 7, 1e-6, layer_scale=True)
    network = VisionTransformer(form)
    nn.init.normal_(network.pos_embed)
    # Cubic convolution, a = -0.75; pixel i of 3 reads at (i + 1/2) / scale - 1/2, with scale (3 + 0.1) / 7.
    weights = np.zeros((3, 7))
    for i in range(3):
        at = (i + 0.5) / (3.1 / 7) - 0.5
        for tap in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            t = abs(at - tap)
            cubic = 1.25 * t**3 - 2.25 * t**2 + 1 if t <= 1 else -0.75 * t**3 + 3.75 * t**2 - 6 * t + 3
            weights[i, min(max(tap, 0), 6)] += cubic
    places = network.pos_embed[0, 1:].detach().double().numpy().reshape(7, 7, 4)
    expected = np.einsum("ia,jb,abc->ijc", weights, weights, places).reshape(9, 4)
    found = network._positions()[0].detach().numpy()
    assert found[1:] == pytest.approx(expected, abs=1e-5)
    assert found[0] == pytest.approx(network.pos_embed[0, 0].detach().numpy())


def test_preprocessing_is_that_of_the_authors() -> None:
    batch = images(1)
    levels = (batch[0, 0] * 255).round()

    def normalised(grey: Any, mean: Any, spread: Any) -> np.ndarray[Any, Any]:
        return np.stack([(np.asarray(grey) / 255 - m) / s for m, s in zip(mean, spread, strict=True)])

    pil = Image.fromarray(levels.numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    expected = normalised(np.asarray(pil).clip(0, 255), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert np.allclose(DinoV2(None, True).prepare(batch)[0].numpy(), expected, rtol=0, atol=1e-3)

    resized = F.interpolate(levels[None, None], size=(336, 336), mode="bicubic")[0, 0]
    statistics = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = normalised(resized, *statistics)
    assert np.allclose(Clip(None, True).prepare(batch)[0].numpy(), expected, rtol=0, atol=1e-4)

    rescaled = F.interpolate(levels[None, None] / 127.5 - 1, size=(224, 224), mode="bilinear")[0, 0]
    assert torch.allclose(RadImageNet(None, True).prepare(batch)[0, 2], rescaled, rtol=0, atol=1e-4)
    assert not torch.equal(RadImageNet(None, False).prepare(batch), RadImageNet(None, True).prepare(batch))


def test_radimagenet_reads_the_file_of_its_authors_example(tmp_path: Path) -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*list(resnet50(weights=None).children())[:9])

    torch.manual_seed(0)
    theirs = Backbone().eval()
    file = tmp_path / "ResNet50.pt"
    torch.save(theirs.state_dict(), file)
    extractor = RadImageNet(str(file), True)
    batch = images(2)
    with torch.inference_mode():
        found = extractor.extract(batch, Context())["features"]
        expected = theirs.backbone(extractor.prepare(batch)).flatten(1)
    assert found.shape == (2, 2048)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-4 * float(expected.max()))
    assert extractor.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_features_of_a_batch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(DinoV2, "form", SMALL_DINO)
    monkeypatch.setattr(DinoV2, "side", 28)
    monkeypatch.setattr(Clip, "form", SMALL_CLIP)
    monkeypatch.setattr(Clip, "side", 28)
    batch = images(3)
    for extractor, shapes, width in (
        (DinoV2, published_dino(SMALL_DINO), 32),
        (Clip, published_clip(SMALL_CLIP), 8),
    ):
        model = extractor(**written(tmp_path / "weights.pth", shapes))
        with torch.inference_mode():
            features = model.extract(batch, Context())["features"]
            alone = model.extract(batch[1:2], Context())["features"]
        assert features.shape == (3, width)
        assert alone[0].numpy() == pytest.approx(features[1].numpy(), abs=1e-5)
        assert len(model.weights_sha256) == 64
    assert features.norm(dim=1).numpy() == pytest.approx(np.ones(3), abs=1e-6)


def test_a_missing_or_wrong_weight_file_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="mtbench score --weights dinov2-vitl14=FILE"):
        DinoV2(None, True).extract(images(), Context())
    file = tmp_path / "other.pth"
    torch.save({"cls_token": torch.zeros(1, 1, 8), "stem.weight": torch.zeros(2)}, file)
    with pytest.raises(
        WeightsError, match=r"another network: 34\d entries missing .* 1 entries unknown \(stem.weight\)"
    ):
        DinoV2(str(file), True).extract(images(), Context())
    with torch.device("meta"):
        network = VisionTransformer(SMALL_DINO)
    state = {name: formula(name, tuple(v.shape)) for name, v in network.state_dict().items()}
    state["norm.bias"][3] = torch.nan
    with pytest.raises(WeightsError, match=r"norm\.bias holds NaN"):
        fill(network, state, "x.pth")
