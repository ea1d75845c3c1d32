"""DINOv2, CLIP and RadImageNet: one network each, the user's weight file, and the preprocessing of their authors.

All see the grey image in three equal channels.

- DINOv2, as dgm-eval (Stein et al. 2023) with ``clean_resize``: 224 x 224 by a smoothing bicubic in floating point, cut
  off to 0..255, ImageNet's mean and standard deviation. Its default rounds to 8 bits after each pass of the resize.
- CLIP, as CMMD's code (Jayasumana et al. 2024): 336 x 336 by PyTorch's bicubic without smoothing, CLIP's mean and
  standard deviation, embeddings of unit length.
- RadImageNet, as its authors' PyTorch example: x / 127.5 - 1, 224 x 224 by half-pixel bilinear; the mean over the last
  feature map.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from mtbench import Context, WeightsError
from mtbench.compute.statedicts import read_state
from mtbench.compute.weights import sha256
from mtbench_plugins.extractors.resizing import resize
from mtbench_plugins.extractors.sharing import by_threads
from mtbench_plugins.extractors.vision_transformer import CLIP_LARGE_336, DINOV2_LARGE, Form, VisionTransformer

State = dict[str, torch.Tensor]
Triple = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_STATISTICS: tuple[Triple, Triple] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class _Pretrained:
    """A network with the weights of a file.

    Args:
        weights: the file.
        quantise: round to 8-bit levels first.

    Attributes:
        weights_sha256: of the file, once it was read.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    kind: ClassVar[str]
    side: ClassVar[int]
    statistics: ClassVar[tuple[Triple, Triple]]

    def __init__(self, weights: str | None, quantise: bool) -> None:
        self._weights = Path(weights) if weights else None
        self._quantise = quantise
        self._net: nn.Module | None = None
        self.weights_sha256 = ""

    def build(self) -> nn.Module:
        """The network, with random weights."""
        raise NotImplementedError

    def named(self, state: State) -> State:
        """The entries of a published file by the names of the network; others are left out."""
        raise NotImplementedError

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """The network's input: float32 B x 1 x H x W in [0, 1] as normalised B x 3 x side x side."""
        levels = images * 255
        if self._quantise:
            levels = levels.round()
        grey = resize(levels, self.kind, self.side) / 255
        mean, spread = (torch.tensor(of, device=grey.device)[:, None, None] for of in self.statistics)
        return (grey - mean) / spread

    def extract(self, images: torch.Tensor, context: Context) -> dict[str, torch.Tensor]:
        """``features`` of a batch, float32, B x width.

        Args:
            images: float32 B x 1 x H x W in [0, 1].

        Raises:
            WeightsError: no weight file, one that cannot be read, or one of another network.
        """
        if self._net is None:
            self._net = self._loaded()
        net = self._net.to(context.device)

        def work(part: torch.Tensor) -> tuple[torch.Tensor]:
            with context.autocast():
                return (self.finish(net(self.prepare(part))).float(),)

        return {"features": by_threads(work, images.to(context.device))[0]}

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        """What follows the network."""
        return features

    def _loaded(self) -> nn.Module:
        if self._weights is None:
            raise WeightsError(
                f"the extractor '{self.name}' has no weight file",
                expected=f"your own copy of {self.file}",
                remedy=f"Set weights = FILE beside extractor = '{self.name}', or give `mtbench score --weights "
                f"{self.name}=FILE`",
            )
        with torch.device("meta"):
            net = self.build()
        fill(net, self.named(read_state(self._weights)), str(self._weights))
        self.weights_sha256 = sha256(self._weights)
        return net.eval().requires_grad_(False)


def fill(net: nn.Module, state: State, where: str) -> None:
    """Put weights into a network on the meta device.

    Raises:
        WeightsError: entries are missing, unknown, of another shape or not finite.
    """
    expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    # A count of training batches is of no use here, and some files leave it out.
    counts = {name for name in expected if name.endswith(".num_batches_tracked")}
    problems = [
        f"{len(names)} entries {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
        for what, names in (
            ("missing", sorted(expected.keys() - state.keys() - counts)),
            ("unknown", sorted(state.keys() - expected.keys())),
            ("of another shape", [n for n in state if n in expected and tuple(state[n].shape) != expected[n]]),
        )
        if names
    ]
    if problems:
        raise WeightsError(
            f"these are the weights of another network: {'; '.join(problems)}",
            where=where,
            expected=f"the {len(expected)} entries of {type(net).__name__}",
        )
    values = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    values |= {name: torch.zeros((), dtype=torch.int64) for name in counts - state.keys()}
    broken = [name for name, value in values.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"{broken[0]} holds NaN or infinite values", where=where, remedy="Get the file again")
    net.load_state_dict(values, assign=True)


class DinoV2(_Pretrained):
    """DINOv2 ViT-L/14: the class token after the last normalisation, 1024 numbers."""

    name = "dinov2-vitl14"
    file = "dinov2_vitl14_pretrain.pth"
    kind = "clean"
    side = 224
    statistics = IMAGENET
    form: ClassVar[Form] = DINOV2_LARGE

    def build(self) -> nn.Module:
        return VisionTransformer(self.form)

    def named(self, state: State) -> State:
        # The token of masked patches is for training.
        return {name: value for name, value in state.items() if name != "mask_token"}


class Clip(_Pretrained):
    """CLIP's image tower: projected embeddings of unit length, 768 numbers."""

    name = "clip-vitl14-336"
    file = "model.safetensors or pytorch_model.bin of openai/clip-vit-large-patch14-336"
    kind = "bicubic"
    side = 336
    statistics = CLIP_STATISTICS
    form: ClassVar[Form] = CLIP_LARGE_336

    def build(self) -> nn.Module:
        return VisionTransformer(self.form)

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)

    def named(self, state: State) -> State:
        """From the names of the transformers library, whose file holds CLIP's text tower too."""
        tower = {
            name.removeprefix("vision_model."): value
            for name, value in state.items()
            if name.startswith(("vision_model.", "visual_projection.")) and not name.endswith("position_ids")
        }
        result: State = {}
        for name, value in tower.items():
            if ".self_attn." not in name or ".out_proj." in name:
                result[_clip_name(name)] = value
        for layer in range(self.form.depth):
            for part in ("weight", "bias"):
                names = [f"encoder.layers.{layer}.self_attn.{which}_proj.{part}" for which in "qkv"]
                if all(name in tower for name in names):
                    result[f"blocks.{layer}.attn.qkv.{part}"] = torch.cat([tower[name] for name in names])
        for name, shape in (("cls_token", (1, 1, -1)), ("pos_embed", (1, -1, self.form.width))):
            if name in result:
                result[name] = result[name].reshape(shape)
        return result


_CLIP_NAMES = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    # So in the library.
    ("pre_layrnorm.", "norm_pre."),
    ("post_layernorm.", "norm."),
    ("visual_projection.", "head."),
    ("encoder.layers.", "blocks."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    (".self_attn.out_proj.", ".attn.proj."),
)


def _clip_name(name: str) -> str:
    for theirs, ours in _CLIP_NAMES:
        name = name.replace(theirs, ours)
    return name


class RadImageNet(_Pretrained):
    """RadImageNet's ResNet-50 (torchvision's network): the mean over the last feature map, 2048 numbers."""

    name = "radimagenet-resnet50"
    file = "ResNet50.pt of RadImageNet_pytorch"
    kind = "bilinear"
    side = 224
    statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def build(self) -> nn.Module:
        from torchvision.models import resnet50

        net: nn.Module = resnet50(weights=None)
        net.fc = nn.Identity()
        return net

    def named(self, state: State) -> State:
        """From the file's names, which number the network's parts: ``backbone.4.0.conv1.weight``."""
        parts = dict(zip("01234567", _PARTS, strict=True))
        return {_numbered(name.split("."), parts): value for name, value in state.items()}


_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _numbered(words: Iterable[str], parts: dict[str, str]) -> str:
    first, *rest = [word for at, word in enumerate(words) if at or word != "backbone"]
    return ".".join([parts.get(first, first), *rest])
