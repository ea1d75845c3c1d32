"""The translator around the training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import mtbench
from mtbench.compute.statedicts import load_weights
from mtbench.training import Budget, UnpairedSampler, flip, seeded, train
from mtbench_quantile_net.training import BATCH, Network, Training


class QuantileNet:
    """The translator ``quantile-net``; the parameters are described in its declaration."""

    def __init__(self, epochs: int, patience: int, filters: int, edges: float) -> None:
        self.epochs, self.patience, self.filters, self.edges = epochs, patience, filters, edges
        self.network = Network(filters)

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        """Train on unpaired slices of both domains; without validation slices there is no early stopping."""
        source, target = data.source_train, data.target_train
        assert source is not None
        assert target is not None
        validation = data.source_validation, data.target_validation
        with seeded(context.seed):
            self.network = Network(self.filters)
        pair = (validation[0], validation[1]) if validation[0] and validation[1] else None
        if pair is None:
            context.remark("Trained without early stopping (no validation slices).")
        self.history = train(
            Training(self.network, self.edges, pair),
            UnpairedSampler(source, target, augment=flip()),
            context,
            Budget(epochs=self.epochs),
            batch_size=BATCH,
            validate_every=1 if pair else None,
            patience=self.patience if pair else None,
        )

    def save(self, folder: Path) -> None:
        """Write weights and the record of the losses."""
        torch.save(self.network.state_dict(), folder / "generator.pt")
        self.history.save(folder)

    def load(self, folder: Path) -> None:
        """Read the weights; the device is not known here."""
        load_weights(self.network, folder / "generator.pt")

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Tensor:
        """float32, B x 1 x H x W in [0, 1]."""
        result: Tensor = self.network.to(batch.source.device).eval()(batch.source)
        return result
