"""The network and its losses. ``mtbench.training`` does the rest: devices, precision, checkpoints, exact resume."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

import mtbench
from mtbench.training import Losses, Moment, Part, Recipe, Step, linear_decay, scale_rates

BATCH = 8


class Network(nn.Module):
    """float32, B x 1 x H x W in [0, 1], the same out; any height and width."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, filters, 5, padding=2, padding_mode="replicate"),
            nn.LeakyReLU(0.2),
            nn.Conv2d(filters, filters, 3, padding=1, padding_mode="replicate"),
            nn.LeakyReLU(0.2),
            nn.Conv2d(filters, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """The change is added to the logit of the source, so that an untrained network changes little."""
        return torch.sigmoid(torch.logit(images.clamp(0.02, 0.98)) + self.layers(images))


def sorted_difference(images: Tensor, references: Tensor) -> Tensor:
    """The mean 1-Wasserstein distance of grey values, image by image: both B x 1 x H x W, of one size."""
    ours, theirs = (each.flatten(1).sort(dim=1).values for each in (images, references))
    return (ours - theirs).abs().mean()


def edge_difference(images: Tensor, sources: Tensor) -> Tensor:
    """How far strong edges of ``sources`` are absent in ``images``, whatever their sign: 0 for the same edges."""
    ours, theirs = (_edges(each) for each in (images, sources))
    return (theirs - ours).clamp(min=0).mean()


def _edges(images: Tensor) -> Tensor:
    rows, columns = images.diff(dim=2)[..., :, 1:], images.diff(dim=3)[..., 1:, :]
    return (rows.square() + columns.square() + 1e-8).sqrt()


class Training(Recipe):
    """One network, two losses, and a validation score that stops training, if there are slices for it."""

    def __init__(
        self, network: Network, edges: float, validation: tuple[mtbench.ImageSet, mtbench.ImageSet] | None
    ) -> None:
        super().__init__({"G": network}, {"G": torch.optim.Adam(network.parameters(), 1e-3)})
        self.edges, self.validation = edges, validation

    def schedule(self, moment: Moment) -> None:
        """The learning rate falls in the second half."""
        scale_rates(self.optimisers.values(), linear_decay(moment, hold=0.5))

    def step(self, step: Step) -> None:
        """One update. The losses are logged by name and shown in the report."""

        def losses(part: Part) -> Losses:
            made = self.networks["G"](part["source"])
            return {
                "grey": sorted_difference(made, part["target"]),
                "edges": self.edges * edge_difference(made, part["source"]),
            }

        step.update("G", losses, clip=1.0)

    def validate(self, moment: Moment) -> Mapping[str, float]:
        """The grey loss on validation slices; ``score`` decides which weights are kept."""
        assert self.validation is not None  # train() is then told not to validate
        source, target = self.validation
        device, total, pairs = next(self.networks["G"].parameters()).device, 0.0, min(len(source), len(target))
        for start in range(0, pairs, BATCH):
            rows = slice(start, min(start + BATCH, pairs))
            made = self.networks["G"](source.tensor(rows, device))
            total += float(sorted_difference(made, target.tensor(rows, device))) * (rows.stop - rows.start)
        return {"score": -total / pairs, "grey": total / pairs}
