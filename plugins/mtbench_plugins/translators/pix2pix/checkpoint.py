"""pix2pix's weight files, of both generators."""

from __future__ import annotations

from typing import Any

from torch import nn

from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, State, UnfitError, count, paired_channels
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.pix2pix.networks import UnetGenerator

_FIRST, _BLOCK = "model.model.0.weight", r"model\.\d+\.conv_block\.1\.weight"


def adapt(state: State) -> State:
    """Without the place that dropout takes in residual blocks."""
    if "model.model.0.bias" in state:
        raise UnfitError("this file was trained with instance norm (--norm instance); mtbench has it with batch norm")
    # The second convolution stands at 5, or behind dropout at 6, where else its norm is.
    if not any(".conv_block.6." in key and value.ndim == 4 for key, value in state.items()):
        return state
    moved = {".conv_block.6.": ".conv_block.5.", ".conv_block.7.": ".conv_block.6."}
    renamed = {}
    for key, value in state.items():
        old = next((part for part in moved if part in key), "")
        renamed[key.replace(old, moved[old]) if old else key] = value
    return renamed


def infer(state: State) -> dict[str, Any]:
    """``netG``, ``inputs``, ``channels``, ``ngf``, and ``n_downs`` or ``n_blocks``."""
    if _FIRST in state:
        first, last = state[_FIRST], state["model.model.3.weight"]
        downs = 1 + count(state, r"model\.model(\.\d+\.model)+\.1\.weight")
        channels = paired_channels(first.shape[1], last.shape[1])
        return {"netG": "unet", **channels, "ngf": first.shape[0], "n_downs": downs}
    first, blocks = state["model.1.weight"], count(state, _BLOCK)
    channels = paired_channels(first.shape[1], state[f"model.{blocks + 17}.weight"].shape[0])
    return {"netG": "resnet", **channels, "ngf": first.shape[0], "n_blocks": blocks}


def build(netG: str, channels: int, ngf: int, *, inputs: int, dropout: bool = False, **size: int) -> nn.Module:
    """The generator from ``inputs`` to ``channels``, with ``n_downs`` or ``n_blocks`` as its size."""
    if netG == "unet":
        return UnetGenerator(channels, ngf, size["n_downs"], inputs=inputs, dropout=dropout)
    return ResnetGenerator(channels, ngf, size["n_blocks"], inputs=inputs, norm="batch", dropout=dropout)


LAYOUT = CheckpointLayout(
    "a U-Net generator of pix2pix", adapt, infer, build, ("a residual generator of pix2pix (batch norm)",)
)
