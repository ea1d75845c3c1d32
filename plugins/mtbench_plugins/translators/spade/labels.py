"""Label maps in SPADE's input format: one channel for each label of the task, background first."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mtbench import DataError, Task


class Labels:
    """The task's label values, in ascending order after 0.

    Args:
        task: with the table of labels.

    Raises:
        DataError: the task has no labels.
    """

    def __init__(self, task: Task) -> None:
        if not task.labels:
            raise DataError("spade generates images from label maps, and this task has no labels", where=task.dataset)
        self._dataset = task.dataset
        self.values = (0, *sorted(value for value in task.labels if value != 0))
        channel = torch.full((256,), -1, dtype=torch.int64)
        channel[list(self.values)] = torch.arange(len(self.values))
        self._channel = {"cpu": channel}

    def __len__(self) -> int:
        return len(self.values)

    def check(self, masks: NDArray[Any], domain: str) -> None:
        """Refuse masks with values that the table does not list.

        Raises:
            DataError: the masks hold such values.
        """
        self._refuse(sorted(int(v) for v in np.unique(masks)), domain)

    def one_hot(self, masks: Tensor, check: str = "") -> Tensor:
        """B x H x W label values to float32 B x labels x H x W.

        Args:
            masks: of any integer dtype.
            check: the domain to name if a value is not in the table. Reading the values blocks the processor until the
                GPU is done; without it (after :meth:`check`) they are not read.

        Raises:
            DataError: the masks hold a value that is not in the table.
        """
        values = masks.long()
        inside = values.clamp(0, 255)
        channel = self._channels(str(masks.device))[inside]
        if check and bool(((channel < 0) | (inside != values)).any()):
            self._refuse(sorted(int(v) for v in torch.unique(masks)), check)
        return F.one_hot(channel, len(self)).movedim(-1, 1).float()

    def _channels(self, device: str) -> Tensor:
        if device not in self._channel:
            self._channel[device] = self._channel["cpu"].to(device)
        return self._channel[device]

    def _refuse(self, values_in_masks: list[int], domain: str) -> None:
        strange = [v for v in values_in_masks if v not in self.values]
        if not strange:
            return
        binary = set(values_in_masks) <= {0, 255}
        raise DataError(
            f"masks of the {domain} domain hold the value{'s' if len(strange) > 1 else ''} "
            + ", ".join(str(v) for v in strange[:5]),
            where=self._dataset,
            expected="label values " + ", ".join(str(v) for v in self.values),
            remedy="These look like black-and-white masks: store 1 instead of 255, or list 255 as a label"
            if binary
            else "List the missing labels in the dataset's table, or correct the masks",
        )
