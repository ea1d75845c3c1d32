"""The common part of the U-Net segmenters: fitting, segmenting, saving."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mtbench import Context, DataError, ImageSet, TrainingData, WeightsError
from mtbench.compute.seeds import derive
from mtbench.training import (
    Augmentation,
    Budget,
    History,
    Losses,
    Moment,
    PairedSampler,
    Part,
    Recipe,
    Step,
    join,
    seeded,
    signed,
    train,
)
from mtbench_plugins.segmenters._targets import Targets, dice, member

_FILE = "networks.pt"


class NetworkSegmenter:
    """Networks trained on one domain's slices, each kept as it was at its best epoch on validation slices.

    A subclass defines the network, its optimiser and its losses.

    Args:
        per: "task": one network for all labels; "region": one for each region.
        levels: resolutions of the networks; images are padded to a multiple of 2 ** (levels - 1).
        epochs: at most.
        batch_size: training slices per step.
        patience: epochs without a better validation Dice before training stops.
        epoch_length: training slices per epoch; ``None``: all of them once.
        seed: mixed with the context's; ``None``: the context's alone.
    """

    def __init__(
        self,
        *,
        per: Literal["task", "region"],
        levels: int,
        epochs: int,
        batch_size: int,
        patience: int,
        epoch_length: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.per, self.levels = per, levels
        self.epochs, self.batch_size, self.patience = epochs, batch_size, patience
        self.epoch_length, self.seed = epoch_length, seed
        self.targets: Targets | None = None
        self.networks: dict[str, nn.Module] = {}
        self.history = History()
        self.validation: dict[str, float] = {}

    def network(self, channels: int) -> nn.Module:
        """A new network: B x 1 x H x W in [-1, 1] to logits, B x ``channels`` x H x W."""
        raise NotImplementedError

    def bottleneck(self, network: nn.Module, images: Tensor) -> Tensor:
        """The activations of the lowest level of one of these networks, B x C x h x w."""
        raise NotImplementedError

    def optimiser(self, network: nn.Module) -> Optimizer:
        """Its optimiser."""
        raise NotImplementedError

    def losses(self, logits: Tensor, classes: Tensor) -> Losses:
        """Losses of logits B x C x H x W (C = 1: a sigmoid's) against class indices B x H x W."""
        raise NotImplementedError

    def augmentation(self, size: tuple[int, int]) -> Augmentation | None:
        """The augmentation of training images of that height and width."""
        return None

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train every network.

        Raises:
            DataError: there are no training slices, no masks, or masks with values that the task does not
            name.
            TrainingError: a loss became infinite or NaN, or memory ran out.
        """
        targets = Targets.of(data.task, self.per)
        training, validation = data.train, data.validation
        self._check(targets, training, validation, context)
        seed = context.seed if self.seed is None else derive(context.seed, self.seed)
        here = replace(context, seed=seed)
        sampler = PairedSampler(training, augment=self.augmentation(training.size), length=self.epoch_length)
        histories = []
        self.targets = targets
        for name, channels in targets.networks.items():
            with seeded(derive(seed, "network", name)):
                network = self.network(channels)
            self.networks[name] = network
            recipe = _Recipe(self, name, validation, here)
            validated = len(validation) > 0
            history = train(
                recipe,
                sampler,
                here,
                Budget(epochs=self.epochs),
                name=name,
                batch_size=self.batch_size,
                validate_every=1 if validated else None,
                patience=self.patience if validated else None,
            )
            histories.append(history)
            best = f"best of {history.epochs} is epoch {history.best_epoch}" if validated else "the last one is kept"
            context.log.append(f"segmenter '{name}': {history.epochs} epochs, {best}")
        self.history = join(histories)
        if len(validation):
            predicted = self._labels(validation, here)
            self.validation = dice(predicted, validation.mask_tensor(), targets.regions)

    def segment(self, images: Tensor, context: Context) -> Tensor:
        """Labels, int64 B x H x W, of images float32 B x 1 x H x W in [0, 1], of any size."""
        targets, logits = self._look(images, context)
        return targets.decode(logits)

    def segment_with_confidence(self, images: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """The labels of :meth:`segment`, and the probability of each: float32 B x H x W."""
        targets, logits = self._look(images, context)
        return targets.decode(logits), targets.confidence(logits)

    def _look(self, images: Tensor, context: Context) -> tuple[Targets, dict[str, Tensor]]:
        self._place(context)
        assert self.targets is not None
        with torch.inference_mode(), context.autocast():
            return self.targets, {n: self.logits(n, images.to(context.device)) for n in self.targets.networks}

    def extract(self, images: Tensor, context: Context) -> dict[str, Tensor]:
        """``features``: the lowest level's channels, averaged over its pixels; the networks' side by side.

        Float32, B x (networks * channels), of images float32 B x 1 x H x W in [0, 1], of any size.
        """
        self._place(context)
        with torch.inference_mode(), context.autocast():
            x = self._padded(images.to(context.device))
            lowest = [self.bottleneck(self.networks[name], x).float().mean(dim=(2, 3)) for name in self.networks]
        return {"features": torch.cat(lowest, dim=1)}

    def logits(self, name: str, images: Tensor) -> Tensor:
        """The network's output for images in [0, 1], which are padded for it; the output is cropped back."""
        height, width = images.shape[-2:]
        logits: Tensor = self.networks[name](self._padded(images))
        return logits[..., :height, :width]

    def _padded(self, images: Tensor) -> Tensor:
        multiple = 2 ** (self.levels - 1)
        height, width = images.shape[-2:]
        # At least two pixels at the lowest level: a single one cannot be normalised.
        below, beside = (max(2 * multiple, -(-n // multiple) * multiple) - n for n in (height, width))
        x = F.pad(signed(images), (0, beside, 0, below), mode="replicate")
        return x.contiguous(memory_format=torch.channels_last)

    def _place(self, context: Context) -> None:
        if self.targets is None:
            raise WeightsError("the segmenter was neither fitted nor loaded")
        for network in self.networks.values():
            network.to(context.device)

    def save(self, folder: Path) -> None:
        """Write ``networks.pt``, ``losses.parquet`` and ``validation.json`` (region to Dice) into
        ``folder``."""
        assert self.targets is not None
        torch.save(
            {
                "labels": list(self.targets.labels),
                "regions": {name: list(values) for name, values in self.targets.regions.items()},
                "networks": {
                    n: {k: v.cpu().contiguous() for k, v in net.state_dict().items()}
                    for n, net in self.networks.items()
                },
            },
            folder / _FILE,
        )
        (folder / "validation.json").write_text(json.dumps(self.validation, indent=1) + "\n")
        self.history.save(folder)

    def load(self, folder: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            WeightsError: the file is missing, damaged, or belongs to networks with other parameters.
        """
        path = folder / _FILE
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            regions = {name: tuple(values) for name, values in state["regions"].items()}
            targets = Targets(tuple(state["labels"]), regions, self.per)
            networks = {name: self.network(channels) for name, channels in targets.networks.items()}
            for name, network in networks.items():
                network.load_state_dict(state["networks"][name])
        except Exception as error:
            raise WeightsError(
                f"the segmenter cannot be loaded: {type(error).__name__}: {error}",
                where=str(path),
                expected="a file that this segmenter saved, with the same parameters",
            ) from error
        self.targets, self.networks = targets, networks
        for network in networks.values():
            network.to(memory_format=torch.channels_last).eval()

    def _labels(self, images: ImageSet, context: Context) -> Tensor:
        rows = range(0, len(images), context.batch_size)
        return torch.cat([self.segment(images.tensor(slice(r, r + context.batch_size)), context).cpu() for r in rows])

    def _check(self, targets: Targets, training: ImageSet, validation: ImageSet, context: Context) -> None:
        if not len(training):
            raise DataError(f"'{training.task.dataset}' has no training slices in the {training.domain} domain")
        targets.check(training)
        if len(validation):
            targets.check(validation)
        else:
            context.log.append("there are no validation slices: the segmenter of the last epoch is kept")
        masks = training.mask_tensor()
        missing = [name for name, values in targets.regions.items() if not bool(member(masks, values).any())]
        if len(missing) == len(targets.regions):
            raise DataError(
                "no training slice shows any label of " + ", ".join(missing),
                where=f"the {training.domain} domain of '{training.task.dataset}'",
            )
        context.log.extend(f"no training slice shows '{name}'" for name in missing)


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean over pixels, of logits B x C x H x W and class indices B x H x W."""
    if logits.device.type == "cpu":
        return F.cross_entropy(logits, classes)
    # With pixels as rows: over images a GPU sums in no fixed order.
    return F.cross_entropy(logits.movedim(1, -1).flatten(0, 2), classes.flatten())


class _Recipe(Recipe):
    def __init__(self, owner: NetworkSegmenter, name: str, validation: ImageSet, context: Context) -> None:
        network = owner.networks[name]
        # Dice is taken over the batch, so a batch in parts would give another loss.
        super().__init__({name: network}, {name: owner.optimiser(network)}, batch_statistics=True)
        assert owner.targets is not None
        self.owner, self.name, self.targets = owner, name, owner.targets
        self.validation, self.context = validation, context

    def step(self, step: Step) -> None:
        def losses(part: Part) -> Losses:
            logits = self.owner.logits(self.name, part["image"])
            return self.owner.losses(logits.float(), self.targets.classes(self.name, part["image_mask"]))

        step.update(self.name, losses)

    def validate(self, moment: Moment) -> Mapping[str, float]:
        images, size = self.validation, self.context.batch_size
        totals: dict[str, float] = {}
        for first in range(0, len(images), size):
            rows = slice(first, first + size)
            truth = images.mask_tensor(rows, self.context.device)
            logits = self.owner.logits(self.name, images.tensor(rows, self.context.device))
            predicted = self.targets.decode({self.name: logits})
            for region, value in dice(predicted, truth, self.targets.scored_regions(self.name)).items():
                totals[region] = totals.get(region, 0.0) + value * len(truth)
        figures: dict[str, Any] = {f"dice {region}": total / len(images) for region, total in totals.items()}
        return {**figures, "score": sum(figures.values()) / len(figures)}
