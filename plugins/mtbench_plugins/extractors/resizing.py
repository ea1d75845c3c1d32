"""Resizing as two small matrix products: every linear, separable resize is rows x image x columns."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache

import torch
from torch.nn import functional as F

from mtbench.compute.precision import tf32


@lru_cache(maxsize=64)
def matrix(kind: str, size: int, target: int) -> torch.Tensor:
    """The weights by which ``size`` pixels in a line become ``target``: float32, target x size.

    Args:
        kind: "tf1", "bilinear" or "clean", see ``conventions``; or "bicubic", PyTorch's (a = -0.75, no smoothing).
    """
    if kind == "tf1":
        return _tf1(size, target)
    # PyTorch's own resize of unit vectors gives the columns; its antialiased bicubic is exact only in float64.
    unit = torch.eye(size, dtype=torch.float64 if kind == "clean" else torch.float32)[None, None]
    if kind == "clean":
        resized = F.interpolate(unit, size=(target, size), mode="bicubic", align_corners=False, antialias=True)
    else:
        resized = F.interpolate(unit, size=(target, size), mode=kind, align_corners=False)
    return resized[0, 0].float().contiguous()


@lru_cache(maxsize=64)
def _placed(kind: str, size: int, target: int, device: str) -> torch.Tensor:
    return matrix(kind, size, target).to(device)


def _tf1(size: int, target: int) -> torch.Tensor:
    # In float32 as TensorFlow computes it: the rounding of i * size / target is part of the convention.
    position = torch.arange(target, dtype=torch.float32) * torch.tensor(size / target, dtype=torch.float32)
    low = position.long()
    high = (low + 1).clamp_max(size - 1)
    share = position - low.float()
    weights = torch.zeros(target, size)
    rows = torch.arange(target)
    weights.index_put_((rows, low), 1 - share, accumulate=True)
    weights.index_put_((rows, high), share, accumulate=True)
    return weights


def resize(levels: torch.Tensor, kind: str, target: int) -> torch.Tensor:
    """Images B x 1 x H x W, float32, as B x 1 x target x target."""
    height, width = int(levels.shape[-2]), int(levels.shape[-1])
    if (height, width) != (target, target):
        device = str(levels.device)
        rows, columns = _placed(kind, height, target, device), _placed(kind, width, target, device)
        # In TF32 grey levels would be off by up to a tenth. The CPU has no TF32, and several threads.
        with tf32(False) if levels.is_cuda else nullcontext():
            levels = rows @ levels @ columns.T
    return levels.clamp(0, 255) if kind == "clean" else levels
