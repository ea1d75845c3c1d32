"""Inception v3 as a feature network for grey images: fast, with the published features.

The optimisations change only rounding: three equal channels are one channel with the first convolution's weights
summed; batch normalisation is folded into the convolutions; an average pooling and the 1x1 convolution after it are
swapped, so that fewer channels are pooled; tensors are stored channels-last.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from mtbench_plugins.extractors.inception_layers import (
    FIRST_STEM,
    SECOND_STEM,
    Block,
    Conv,
    blocks,
    conv_shapes,
)

SIDE = 299
FEATURES = 2048
_EPS = 1e-3

State = Mapping[str, torch.Tensor]


def expected_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of a state dict, without ``num_batches_tracked``, which only some files have."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in conv_shapes():
        shapes[f"{name}.conv.weight"] = shape
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{entry}"] = shape[:1]
    return shapes | {"fc.weight": (classes, FEATURES), "fc.bias": (classes,)}


class InceptionNet:
    """The network of grey images, for inference.

    Args:
        state: a complete state dict in the published layout (see :func:`expected_shapes`), float32.
        tensorflow: whether it is the FID network, whose average poolings leave the padding out and whose last
            block pools the maximum, or torchvision's.
        device, dtype: where and in which precision it computes.
    """

    def __init__(
        self, state: State, *, tensorflow: bool, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self._dtype = dtype
        self._device = device
        self._count_padding = not tensorflow
        self._blocks = blocks("maximum" if tensorflow else "average")
        self._convs = {name: self._folded(state, name) for name, _ in conv_shapes()}
        # The published Inception Score leaves the classifier's bias out; torchvision's classifier has it.
        # In float64, because a float32 product's last bits depend on how many images are multiplied at once.
        self._classes = state["fc.weight"].to(device, torch.float64)
        self._class_bias = None if tensorflow else state["fc.bias"].to(device, torch.float64)

    def _folded(self, state: State, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        def entry(key: str) -> torch.Tensor:
            return state[f"{name}.{key}"].double()

        scale = entry("bn.weight") / (entry("bn.running_var") + _EPS).sqrt()
        weight = entry("conv.weight") * scale[:, None, None, None]
        if name == FIRST_STEM[0].name:
            weight = weight.sum(1, keepdim=True)
        bias = entry("bn.bias") - entry("bn.running_mean") * scale
        weight = weight.to(self._device, self._dtype).contiguous(memory_format=torch.channels_last)
        return weight, bias.to(self._device, self._dtype)

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and class scores of scaled images.

        Args:
            images: B x 1 x 299 x 299 on the network's device.

        Returns:
            float32 B x 2048 (the mean over the last feature map) and float32 B x classes.
        """
        x = images.to(self._dtype).contiguous()
        # With one channel both layouts are the same memory; only strides that say channels-last make the first
        # convolution give such an output, without which the second takes three times as long.
        height, width = x.shape[2:]
        x = x.as_strided(x.shape, (height * width, 1, width, 1))
        for stem in (FIRST_STEM, SECOND_STEM):
            for conv in stem:
                x = self._conv(x, conv.name, conv)
            x = F.max_pool2d(x, 3, 2)
        for block in self._blocks:
            x = self._block(x, block)
        pool = x.float().mean((2, 3))
        return pool, F.linear(pool.double(), self._classes, self._class_bias).float()

    def _conv(self, x: torch.Tensor, name: str, conv: Conv) -> torch.Tensor:
        weight, bias = self._convs[name]
        return _relu_(F.conv2d(x, weight, bias, conv.stride, conv.padding))

    def _block(self, x: torch.Tensor, block: Block) -> torch.Tensor:
        outputs: list[torch.Tensor] = []
        for branch in block.branches:
            y = x
            for conv in branch.convs:
                y = self._conv(y, f"{block.name}.{conv.name}", conv)
            outputs += [self._conv(y, f"{block.name}.{conv.name}", conv) for conv in branch.fork] or [y]
        outputs.append(self._pooled(x, block))
        return torch.cat(outputs, 1)

    def _pooled(self, x: torch.Tensor, block: Block) -> torch.Tensor:
        if block.pooled is None:
            return F.max_pool2d(x, 3, 2)
        name = f"{block.name}.{block.pooled.name}"
        if block.pooling == "maximum":
            return self._conv(F.max_pool2d(x, 3, 1, 1), name, block.pooled)
        weight, bias = self._convs[name]
        # The bias is added after the pooling: padding that counts in the average would dilute it.
        mean = F.avg_pool2d(F.conv2d(x, weight), 3, 1, 1, count_include_pad=self._count_padding)
        return _relu_(mean.add_(bias[:, None, None]))


def _relu_(x: torch.Tensor) -> torch.Tensor:
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        # The sign is the first bit of the 16, as it is in an integer, for which there is a clamp six times as fast.
        x.view(torch.int16).clamp_min_(0)
        return x
    return F.relu_(x)
