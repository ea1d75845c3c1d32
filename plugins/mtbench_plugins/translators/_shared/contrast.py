"""The patch-wise contrast of CUT and UNSB (Park et al. 2020): a translated patch must recall its own source patch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench.compute.transfer import to_device
from mtbench.training import no_grad

TEMPERATURE = 0.07
SELF = -10.0
"""The similarity that masks a patch as its own negative."""


class PatchProjection(nn.Module):
    """F of CUT and UNSB: projects sampled features of each layer onto the unit sphere.

    Args:
        widths: channels of each layer's features.
        width: of the projection (``netF_nc``).
    """

    def __init__(self, widths: Sequence[int], width: int = 256) -> None:
        super().__init__()
        for index, channels in enumerate(widths):
            mlp = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width))
            self.add_module(f"mlp_{index}", mlp)

    def forward(self, features: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Maps B x C x h x w at flat ``positions`` (int64, P each) to unit rows, B x P x width, for each layer."""
        out = []
        for index, (map_, where) in enumerate(zip(features, positions, strict=True)):
            rows = map_.flatten(2)[:, :, where].transpose(1, 2)
            projected: Tensor = getattr(self, f"mlp_{index}")(rows)
            out.append(projected / (torch.linalg.vector_norm(projected, dim=-1, keepdim=True) + 1e-7))
        return out


def contrast_loss(
    projection: PatchProjection, translated: Sequence[Tensor], source: Sequence[Tensor], positions: Sequence[Tensor]
) -> Tensor:
    """The mean cross-entropy over patches and layers, unweighted.

    Args:
        projection: F.
        translated: feature maps of the translation, B x C x h x w for each layer; they give the queries.
        source: those of the source image; they give the keys, without gradient.
        positions: flat positions, int64, for each layer.
    """
    with no_grad():
        keys = projection(source, positions)
    losses = []
    for query, key in zip(projection(translated, positions), keys, strict=True):
        similar = torch.bmm(query.float(), key.float().transpose(1, 2))
        positive = similar.diagonal(dim1=1, dim2=2)[..., None]
        diagonal = torch.eye(similar.shape[1], dtype=torch.bool, device=similar.device)
        logits = torch.cat([positive, similar.masked_fill(diagonal, SELF)], dim=2).flatten(0, 1) / TEMPERATURE
        losses.append(F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device)))
    return torch.stack(losses).mean()


def draw_positions(maps: Sequence[tuple[int, int]], patches: int, device: str) -> tuple[Tensor, ...]:
    """At most ``patches`` different flat positions in each map of the given height and width, drawn on the CPU."""
    positions = [torch.randperm(h * w)[:patches] for h, w in maps]
    # One copy for all layers.
    return torch.split(to_device(torch.cat(positions), device), [len(p) for p in positions])
