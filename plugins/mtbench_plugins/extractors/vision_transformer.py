"""A vision transformer (Dosovitskiy et al. 2021) for inference, in the two forms in which published weights exist.

Names of parameters are those of DINOv2's published file. CLIP's image tower differs in its shape only: see
:class:`Form`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Form:
    """The shape of a network.

    Attributes:
        side: of its input, pixels; a multiple of ``patch``.
        patch: side of a patch.
        width, depth, heads: of the transformer.
        grid: patches a side of the position embedding in the weight file.
        eps: of layer normalisation.
        layer_scale: a trained factor on each residual branch (DINOv2).
        first_norm: a normalisation before the first block, and no bias of the patch embedding (CLIP).
        quick: GELU as x * sigmoid(1.702 x) (CLIP).
        projection: width of the linear map after the last normalisation; 0 for none.
    """

    side: int
    patch: int
    width: int
    depth: int
    heads: int
    grid: int
    eps: float
    layer_scale: bool = False
    first_norm: bool = False
    quick: bool = False
    projection: int = 0


DINOV2_LARGE = Form(224, 14, 1024, 24, 16, 37, 1e-6, layer_scale=True)
CLIP_LARGE_336 = Form(336, 14, 1024, 24, 16, 24, 1e-5, first_norm=True, quick=True, projection=768)


class _Attention(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.heads = form.heads
        self.qkv = nn.Linear(form.width, 3 * form.width)
        self.proj = nn.Linear(form.width, form.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class _Perceptron(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.quick = form.quick
        self.fc1 = nn.Linear(form.width, 4 * form.width)
        self.fc2 = nn.Linear(4 * form.width, form.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc1(x)
        out: torch.Tensor = self.fc2(x * torch.sigmoid(1.702 * x) if self.quick else F.gelu(x))
        return out


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(form.width, eps=form.eps)
        self.attn = _Attention(form)
        self.ls1 = _Scale(form.width) if form.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(form.width, eps=form.eps)
        self.mlp = _Perceptron(form)
        self.ls2 = _Scale(form.width) if form.layer_scale else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: torch.Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class _Patches(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, form.width, form.patch, form.patch, bias=not form.first_norm)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.proj(images), 2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """The network; its output is that of the class token.

    Args:
        form: its shape.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.patch_embed = _Patches(form)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, form.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + form.grid**2, form.width))
        self.norm_pre = nn.LayerNorm(form.width, eps=form.eps) if form.first_norm else nn.Identity()
        self.blocks = nn.ModuleList(_Block(form) for _ in range(form.depth))
        self.norm = nn.LayerNorm(form.width, eps=form.eps)
        self.head = nn.Linear(form.width, form.projection, bias=False) if form.projection else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of normalised images, float32, B x 3 x side x side: B x width, or B x projection."""
        patches = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self._positions()
        x = self.norm_pre(x)
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.head(self.norm(x[:, 0]))
        return out

    def _positions(self) -> torch.Tensor:
        """The position embedding at the grid of the input.

        DINOv2's own code resizes it by a bicubic spline with the scale (grid + 0.1) / (grid of the file), a tenth added
        against rounding; the tenth moves the sampled positions and so is part of the published features.
        """
        form = self.form
        grid = form.side // form.patch
        if grid == form.grid:
            return self.pos_embed
        places = self.pos_embed[:, 1:].reshape(1, form.grid, form.grid, form.width).permute(0, 3, 1, 2)
        scale = (grid + 0.1) / form.grid
        resized = F.interpolate(places, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], 1)
