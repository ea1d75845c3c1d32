"""The targets of a segmenter: which objects it segments, how its outputs become labels, and their Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mtbench import DataError, ImageSet, Task

WHOLE = "task"
"""The name of a single network for all labels."""


@dataclass(frozen=True)
class Targets:
    """The objects of a task, as one network or as one network each.

    Attributes:
        labels: the mask values, ascending, without 0.
        regions: name and mask values of each region.
        per: "task": one network with softmax channels (background, labels...); "region": one network with a
            single logit for each region.
    """

    labels: tuple[int, ...]
    regions: Mapping[str, tuple[int, ...]]
    per: Literal["task", "region"]

    @classmethod
    def of(cls, task: Task, per: Literal["task", "region"]) -> Targets:
        """Those of ``task``.

        Raises:
            DataError: the task has no labels.
        """
        if not task.labels:
            raise DataError(
                f"the task '{task.dataset}' has no labels to segment",
                remedy="Name the mask values in the dataset's labels",
            )
        return cls(tuple(sorted(task.labels)), {n: tuple(v) for n, v in task.regions.items()}, per)

    @property
    def networks(self) -> Mapping[str, int]:
        """Name and number of output channels of each network."""
        if self.per == "task":
            return {WHOLE: 1 + len(self.labels)}
        return dict.fromkeys(self.regions, 1)

    def classes(self, network: str, masks: Tensor) -> Tensor:
        """The network's target for label maps B x H x W: class indices, int64, of the same shape."""
        if self.per == "task":
            # Label maps hold uint8 values; a table of 256 entries turns them into channel numbers.
            return _table(self.labels, str(masks.device))[masks.long()]
        return member(masks, self.regions[network]).long()

    def scored_regions(self, network: str) -> Mapping[str, tuple[int, ...]]:
        """The regions whose Dice selects the best epoch of that network."""
        return self.regions if self.per == "task" else {network: self.regions[network]}

    def decode(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Labels, int64 B x H x W, from the logits B x C x H x W of each network.

        With one network per region, a pixel gets the label (or background) that is most likely if the networks are
        independent: the product over regions of p where the label belongs to the region and 1 - p where it does not.
        For a single region that is p > 0.5; overlapping and nested regions need no special rule.
        """
        return self._values_on(logits)[self._likelihood(logits).argmax(dim=1)]

    def confidence(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The probability of each label of :meth:`decode` among the task's labels and background, B x H x W."""
        return self._likelihood(logits).softmax(dim=1).amax(dim=1)

    def _values_on(self, logits: Mapping[str, Tensor]) -> Tensor:
        return _values((0, *self.labels), torch.int64, str(next(iter(logits.values())).device))

    def _likelihood(self, logits: Mapping[str, Tensor]) -> Tensor:
        """The log-likelihood of background and each label but for a constant, B x (1 + labels) x H x W."""
        if self.per == "task":
            return logits[WHOLE].float()
        values = self._values_on(logits)
        likelihood: Tensor | None = None
        for name, logit in logits.items():
            inside = member(values, self.regions[name])
            sign = torch.where(inside, 1.0, -1.0)[None, :, None, None]
            term = torch.nn.functional.logsigmoid(sign * logit.float())
            likelihood = term if likelihood is None else likelihood + term
        assert likelihood is not None
        return likelihood

    def check(self, images: ImageSet) -> None:
        """Check the masks for training or validation.

        Raises:
            DataError: there are none, or they hold values that are not in the task's table.
        """
        where = f"the {images.split} slices of the {images.domain} domain of '{images.task.dataset}'"
        if images.masks is None:
            raise DataError(
                "a segmenter needs masks, and there are none",
                where=where,
                remedy="Add masks for this domain, or choose another dataset",
            )
        values = np.unique(np.asarray(images.masks))
        unknown = np.setdiff1d(values, [0, *self.labels])
        if unknown.size:
            binary = set(values.tolist()) <= {0, 255}
            raise DataError(
                f"the masks hold the value {', '.join(map(str, unknown[:5].tolist()))}",
                where=where,
                expected="0 and " + ", ".join(f"{v} ({images.task.labels[v]})" for v in self.labels),
                remedy="Masks of 0 and 255 must be stored as 0 and 1" if binary else "Correct the masks or the table",
            )


def member(masks: Tensor, values: Sequence[int]) -> Tensor:
    """Where label maps hold one of ``values``; bool, of the same shape."""
    return torch.isin(masks, _values(tuple(values), masks.dtype, str(masks.device)))


@lru_cache(maxsize=64)
def _values(values: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Values on the device, copied once: a copy to a GPU blocks the processor."""
    return torch.tensor(values, dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _table(labels: tuple[int, ...], device: str) -> Tensor:
    """Mask values to channel numbers, int64, 256."""
    table = torch.zeros(256, dtype=torch.int64)
    table[list(labels)] = torch.arange(1, 1 + len(labels))
    return table.to(device)


def dice(
    predicted: Tensor, truth: Tensor, regions: Mapping[str, Sequence[int]], smooth: float = 1e-4
) -> dict[str, float]:
    """Dice of label maps B x H x W by region: mean over slices, a slice with both masks empty counting 1."""
    means = []
    for values in regions.values():
        p, t = member(predicted, values), member(truth, values)
        both, total = (p & t).sum((1, 2)).double(), (p.sum((1, 2)) + t.sum((1, 2))).double()
        means.append(((2 * both + smooth) / (total + smooth)).mean())
    return dict(zip(regions, torch.stack(means).tolist(), strict=True))
