"""ContourDiff's weight folders: ``config.json`` and the weights beside it, as diffusers reads and writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtbench import WeightsError
from mtbench.jsontext import parse
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, load
from mtbench_plugins.translators.contourdiff.folder import CONFIG, NAMES, SAVED, locate
from mtbench_plugins.translators.contourdiff.unet import EPS, GROUPS, HEAD, DenoisingUNet, UNetConfig

KIND = "a diffusion U-Net of diffusers"
_FIXED: dict[str, object] = {
    "_class_name": "UNet2DModel",
    "act_fn": "silu",
    "add_attention": True,
    "attn_norm_num_groups": None,
    "center_input_sample": False,
    "class_embed_type": None,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2D",
    "norm_eps": EPS,
    "num_class_embeds": None,
    "resnet_time_scale_shift": "default",
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "upsample_type": "conv",
}
"""Options of diffusers that ContourDiff leaves at their defaults."""


def read(path: Path, params: Mapping[str, Any]) -> nn.Module:
    """The network of a folder, in eval mode and without gradients.

    Args:
        path: see :func:`locate`.
        params: with ``width`` and ``levels``; ``None`` means the folder's own.

    Raises:
        WeightsError: a file is missing or damaged, or belongs to another network.
    """
    file = locate(path)
    if file is None:
        missing = "this folder holds no weights" if path.is_dir() else "this folder does not exist"
        raise WeightsError(missing, where=str(path), expected=f"unet/{CONFIG} and unet/{NAMES[0]} or unet/{NAMES[1]}")
    return load(file, layout(read_config(file.with_name(CONFIG))), params)


def layout(config: UNetConfig) -> CheckpointLayout:
    """How the weights beside a ``config.json`` are read."""
    sizes = {"width": config.widths[0], "levels": len(config.widths)}
    return CheckpointLayout(KIND, lambda state: state, lambda state: sizes, lambda **_: DenoisingUNet(config))


def read_config(file: Path) -> UNetConfig:
    """The network that a ``config.json`` describes.

    Raises:
        WeightsError: it is missing, cannot be read, or describes a network that ContourDiff does not have.
    """
    where = str(file)
    try:
        raw = parse(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else "this file does not exist"
        raise WeightsError(
            reason, where=where, expected=f"the {CONFIG} that diffusers writes beside the weights"
        ) from None
    if not isinstance(raw, dict):
        raise WeightsError("this is not a table of options", where=where, expected=f"the {CONFIG} of a UNet2DModel")
    for name, value in _FIXED.items():
        if raw.get(name, value) != value:
            raise WeightsError(f"{name} is {raw[name]!r}", where=where, expected=f"{value!r}, as in ContourDiff")
    _check_channels(raw, where)
    try:
        config = _sizes(raw)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"this is not the {CONFIG} of a UNet2DModel: {error}", where=where) from None
    known = written(config)
    for name in ("down_block_types", "up_block_types"):
        if list(raw[name]) != known[name]:
            raise WeightsError(f"{name} is {raw[name]}", where=where, expected=f"{known[name]}, as in ContourDiff")
    return config


def _check_channels(raw: Mapping[str, Any], where: str) -> None:
    channels = (raw.get("in_channels"), raw.get("out_channels"))
    if channels == (2, 1):
        return
    known: dict[object, str] = {
        (3, 1): "this network was trained with a neighbouring slice as a third channel (--near_guided)",
        (4, 3): "this network was trained on colour images (--in_channels 3)",
    }
    what = known.get(channels, f"this network has {channels[0]} channels in and {channels[1]} out")
    raise WeightsError(what, where=where, expected="2 in (image and contours) and 1 out (noise)")


def _sizes(raw: Mapping[str, Any]) -> UNetConfig:
    widths = tuple(int(n) for n in raw["block_out_channels"])
    attention = tuple("Attn" in str(block) for block in raw["down_block_types"])
    head = raw.get("attention_head_dim", HEAD)
    config = UNetConfig(
        widths, attention, int(raw.get("layers_per_block", 2)), int(raw.get("norm_num_groups", GROUPS)), int(head)
    )
    if len(widths) < 2 or len(widths) != len(attention) or config.blocks < 1:
        raise ValueError(f"{len(widths)} widths, {len(attention)} levels, {config.blocks} blocks")
    if min(widths) < 2 or config.groups < 1 or any(width % config.groups for width in widths):
        raise ValueError(f"widths {widths} in {config.groups} groups")
    if config.head < 1 or any(width % config.head for width in widths):
        raise ValueError(f"widths {widths} in heads of {config.head}")
    return config


def written(config: UNetConfig) -> dict[str, Any]:
    """The content of ``config.json``."""
    down = ["AttnDownBlock2D" if attention else "DownBlock2D" for attention in config.attention]
    up = ["AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(config.attention)]
    return {
        **_FIXED,
        "in_channels": 2,
        "out_channels": 1,
        "sample_size": None,
        "block_out_channels": list(config.widths),
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": config.blocks,
        "norm_num_groups": config.groups,
        "attention_head_dim": config.head,
    }


def write(network: DenoisingUNet, folder: Path) -> None:
    """Write ``config.json`` and the weights as safetensors, which diffusers and :func:`read` can load."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(written(network.config), indent=2) + "\n")
    save_safetensors({name: value.detach() for name, value in network.state_dict().items()}, folder / SAVED)


def save_safetensors(state: Mapping[str, Tensor], file: Path) -> None:
    """Write float32 tensors: the length of a JSON header in 8 bytes, the header, the data.

    Source: https://github.com/huggingface/safetensors.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, value in state.items():
        end = start + 4 * value.numel()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for value in state.values():
            handle.write(value.to("cpu", torch.float32).contiguous().numpy().astype("<f4").tobytes())
