"""The entries of the published files of DINOv2 and CLIP, small forms of their networks, and weights by a formula."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from mtbench_plugins.extractors.vision_transformer import Form

SMALL_DINO = Form(28, 14, 32, 2, 4, 2, 1e-6, layer_scale=True)
SMALL_CLIP = Form(28, 14, 32, 2, 4, 2, 1e-5, first_norm=True, quick=True, projection=8)
Shapes = dict[str, tuple[int, ...]]


def formula(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Weights from a tensor's name and shape."""
    waves = np.sin(np.arange(np.prod(shape)) * 1.7 + zlib.crc32(name.encode()) % 1000).reshape(shape)
    if len(shape) > 1:
        return torch.tensor(0.2 * waves, dtype=torch.float32)
    return torch.tensor(0.1 * waves + name.endswith(("weight", "gamma")), dtype=torch.float32)


def published_dino(form: Form) -> Shapes:
    """The entries of DINOv2's file."""
    width = form.width
    block: Shapes = {"ls1.gamma": (width,), "ls2.gamma": (width,)}
    for name, rows, columns in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
        block |= {f"{name}.weight": (rows * width, columns * width), f"{name}.bias": (rows * width,)}
    block |= {f"norm{i}.{part}": (width,) for i in (1, 2) for part in ("weight", "bias")}
    return {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + form.grid**2, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, form.patch, form.patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        **{f"blocks.{i}.{name}": shape for i in range(form.depth) for name, shape in block.items()},
    }


def published_clip(form: Form) -> Shapes:
    """The entries of the transformers library's file of CLIP, one of its text tower among them."""
    width = form.width
    layer: Shapes = {}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        layer |= {f"self_attn.{name}.weight": (width, width), f"self_attn.{name}.bias": (width,)}
    layer |= {f"layer_norm{i}.{part}": (width,) for i in (1, 2) for part in ("weight", "bias")}
    layer |= {"mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,)}
    layer |= {"mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,)}
    inside: Shapes = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, form.patch, form.patch),
        "embeddings.position_embedding.weight": (1 + form.grid**2, width),
        "embeddings.position_ids": (1, 1 + form.grid**2),
        **{f"{name}.{part}": (width,) for name in ("pre_layrnorm", "post_layernorm") for part in ("weight", "bias")},
        **{f"encoder.layers.{i}.{name}": shape for i in range(form.depth) for name, shape in layer.items()},
    }
    text: Shapes = {"text_model.final_layer_norm.weight": (16,), "text_projection.weight": (8, 16), "logit_scale": ()}
    return {
        **{f"vision_model.{name}": shape for name, shape in inside.items()},
        "visual_projection.weight": (form.projection, width),
        **text,
    }
