"""A small encoder trained by VICReg (Bardes et al. 2022) on the target's training slices, as a feature network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench import Context, DataError, ImageSet, TrainingData, WeightsError
from mtbench.compute.seeds import derive, generator
from mtbench.errors import TrainingError
from mtbench.training import (
    Budget,
    History,
    Losses,
    Moment,
    Part,
    Recipe,
    Step,
    order,
    scale_rates,
    seeded,
    signed,
    train,
)

_FILE = "encoder.pt"
_INVARIANCE, _VARIANCE, _COVARIANCE = 25.0, 25.0, 1.0
"""The weights of the loss, of the paper."""
_SMALLEST_SIDE = 0.6
"""Of a crop, as a share of the slice's."""
_COLLAPSED = 1e-5


class SelfSupervised:
    """Features of an encoder whose two views of a slice agree, while its outputs stay spread and uncorrelated.

    The views are crops and mirror images only. An encoder that is trained to ignore noise, blur or grey levels, as
    with the usual augmentations, could not tell a translation that has them wrong.

    Args:
        size: side of the resized images.
        width: channels of the first level; the features have 4 * ``width``.
        steps, batch_size, lr: of the training.
    """

    def __init__(
        self, size: int = 64, width: int = 32, steps: int = 200, batch_size: int = 64, lr: float = 1e-3
    ) -> None:
        self.size, self.width = size, width
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.encoder: nn.Module | None = None
        self.history = History()

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on the training slices.

        Raises:
            DataError: there are fewer than two.
            TrainingError: the encoder gives all slices the same features, or a loss became infinite or NaN.
        """
        images = data.train
        if len(images) < 2:
            raise DataError(
                f"{len(images)} training slices", where=images.task.dataset, expected="at least two to train on"
            )
        slices = torch.cat([self._resized(images.tensor([i])) for i in range(len(images))])
        with seeded(derive(context.seed, "encoder")):
            encoder, expander = _encoder(self.width), _expander(4 * self.width)
        recipe = _Recipe(encoder, expander, self.lr)
        sampler = _TwoViews(images, slices)
        budget = Budget(steps=self.steps)
        self.history = train(recipe, sampler, context, budget, batch_size=self.batch_size, drop_last=True)
        self.encoder = encoder
        parts = [slices[first : first + self.batch_size] for first in range(0, len(slices), self.batch_size)]
        spread = torch.cat([self.extract(part, context)["features"].cpu() for part in parts]).std(dim=0)
        if not bool((spread > _COLLAPSED).any()):
            raise TrainingError(
                "the encoder gives all training slices the same features",
                where="extractor 'self-supervised'",
                remedy="Set more steps, a larger batch_size or a smaller lr",
            )
        used = int((spread > _COLLAPSED).sum())
        context.log.append(f"encoder: {used} of {len(spread)} features differ between training slices")

    def save(self, folder: Path) -> None:
        """Write ``encoder.pt`` and ``losses.parquet``."""
        assert self.encoder is not None
        torch.save({k: v.cpu().contiguous() for k, v in self.encoder.state_dict().items()}, folder / _FILE)
        self.history.save(folder)

    def load(self, folder: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            WeightsError: the file is missing, damaged, or of an encoder with another width.
        """
        encoder = _encoder(self.width)
        try:
            encoder.load_state_dict(torch.load(folder / _FILE, map_location="cpu", weights_only=True))
        except Exception as error:
            raise WeightsError(
                f"the encoder cannot be loaded: {type(error).__name__}: {error}",
                where=str(folder / _FILE),
                expected="a file that this extractor saved, with the same width",
            ) from error
        self.encoder = encoder.to(memory_format=torch.channels_last).eval()

    def extract(self, images: Tensor, context: Context) -> dict[str, Tensor]:
        """``features``: float32, B x 4 * width, of images float32 B x 1 x H x W in [0, 1], of any size."""
        if self.encoder is None:
            raise WeightsError("the extractor was neither fitted nor loaded", where="extractor 'self-supervised'")
        self.encoder.to(context.device)
        with torch.inference_mode(), context.autocast():
            x = signed(self._resized(images.to(context.device)))
            features: Tensor = self.encoder(x.contiguous(memory_format=torch.channels_last))
        return {"features": features.float()}

    def _resized(self, images: Tensor) -> Tensor:
        side = (self.size, self.size)
        if tuple(images.shape[-2:]) == side:
            return images
        return F.interpolate(images, side, mode="bilinear", antialias=True, align_corners=False)


class _TwoViews:
    """Two crops of each slice, resized to the slice's size and mirrored at random: "one" and "two"."""

    def __init__(self, images: ImageSet, slices: Tensor) -> None:
        self._ids = [record.slice_id for record in images.slices]
        self._slices = slices

    def __len__(self) -> int:
        return len(self._slices)

    def batch(self, seed: int, epoch: int, positions: Sequence[int]) -> dict[str, Tensor]:
        """See the class."""
        shuffled = order(seed, epoch, len(self))
        indices = [int(shuffled[p]) for p in positions]
        draws = torch.stack(
            [torch.from_numpy(generator(seed, "views", epoch, self._ids[i]).random((2, 5))) for i in indices]
        ).float()
        return {name: self._views(indices, draws[:, view]) for view, name in enumerate(("one", "two"))}

    def _views(self, indices: Sequence[int], draws: Tensor) -> Tensor:
        """Crops; the draws, B x 5, decide height, width, place and mirroring."""
        sides = _SMALLEST_SIDE + (1 - _SMALLEST_SIDE) * draws[:, :2]
        centres = (1 - sides) * (2 * draws[:, 2:4] - 1)
        mirrored = torch.where(draws[:, 4] < 0.5, -1.0, 1.0)
        zero = torch.zeros_like(mirrored)
        rows = torch.stack([zero, sides[:, 0], centres[:, 0]], dim=1)
        columns = torch.stack([sides[:, 1] * mirrored, zero, centres[:, 1]], dim=1)
        slices = self._slices[indices]
        grid = F.affine_grid(torch.stack([columns, rows], dim=1), list(slices.shape), align_corners=False)
        return F.grid_sample(slices, grid, padding_mode="border", align_corners=False)


class _Recipe(Recipe):
    def __init__(self, encoder: nn.Module, expander: nn.Module, rate: float) -> None:
        parameters = [*encoder.parameters(), *expander.parameters()]
        optimiser = torch.optim.AdamW(parameters, rate, weight_decay=1e-4)
        super().__init__({"encoder": encoder, "expander": expander}, {"all": optimiser}, batch_statistics=True)

    def schedule(self, moment: Moment) -> None:
        scale_rates(self.optimisers.values(), 0.5 * (1 + math.cos(math.pi * moment.fraction)))

    def step(self, step: Step) -> None:
        def losses(part: Part) -> Losses:
            encoder, expander = self.networks["encoder"], self.networks["expander"]
            one, two = (expander(encoder(signed(part[view]))).float() for view in ("one", "two"))
            return vicreg(one, two)

        step.update("all", losses)


def vicreg(one: Tensor, two: Tensor) -> Losses:
    """The weighted terms of the loss of two views' embeddings, float32, B x D each with B > 1 (equations 1 to 6)."""
    variance, covariance = one.new_zeros(()), one.new_zeros(())
    for embeddings in (one, two):
        centred = embeddings - embeddings.mean(dim=0)
        products = centred.T @ centred / (len(centred) - 1)
        deviations = (products.diagonal() + 1e-4).sqrt()
        variance = variance + F.relu(1 - deviations).mean() / 2
        squares = products.square().sum() - products.diagonal().square().sum()
        covariance = covariance + squares / products.shape[0]
    return {
        "invariance": _INVARIANCE * F.mse_loss(one, two),
        "variance": _VARIANCE * variance,
        "covariance": _COVARIANCE * covariance,
    }


def _encoder(width: int) -> nn.Sequential:
    """Five convolutions, of which four halve the resolution; the mean over pixels of the last one's channels."""
    channels = [1, width, 2 * width, 4 * width, 4 * width, 4 * width]
    layers: list[nn.Module] = []
    for level, (before, after) in enumerate(pairwise(channels)):
        stride = 2 if level < 4 else 1
        layers += [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _expander(width: int) -> nn.Sequential:
    """From features to embeddings, B x ``2 * width``; used in training only."""
    hidden = 2 * width
    return nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, hidden))
