"""Losses as they come: checked, averaged, shown, and sent to TensorBoard if it is installed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mtbench.compute.context import Context
from mtbench.errors import TrainingError
from mtbench.training.events import Events
from mtbench.training.history import History, HistoryEntry, Phase, SampleImage

_ENTRIES = 2000
"""Approximate number of entries per loss and training; longer trainings average over more steps."""

_CUDA_STEPS = 10
"""Steps between reads of the losses on CUDA, where every read blocks the processor until the device is done."""


def _read(figures: list[Tensor]) -> list[float]:
    """All figures as numbers, those on a GPU by one copy."""
    there = [figure for figure in figures if figure.device.type != "cpu"]
    read = iter(torch.stack(there).tolist() if there else [])
    return [float(figure) if figure.device.type == "cpu" else next(read) for figure in figures]


class Journal:
    """Collects the figures of one training in ``history``.

    Args:
        name: of the training.
        context: for the device and the log.
        steps: their maximum number; ``None`` if only time limits them.
        tensorboard: see ``train``.
    """

    def __init__(self, name: str, context: Context, steps: int | None, tensorboard: bool | None) -> None:
        self.history = History()
        self._name = name
        self._window = max(1, (steps or 0) // _ENTRIES) if steps else _CUDA_STEPS
        self._patience = _CUDA_STEPS if context.device.startswith("cuda") else 1
        self._unchecked: list[tuple[int, int, Mapping[str, Tensor]]] = []
        self._sums: dict[str, tuple[float, int]] = {}
        self._at = (0, 0)
        self._latest: dict[str, float] = {}
        self._clock: tuple[float, int] | None = None
        self._steps = 0
        self._events = Events(context, tensorboard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def losses(self, step: int, epoch: int, values: Mapping[str, Tensor]) -> None:
        """Add the losses of a step.

        Raises:
            TrainingError: one of this step, or of up to ten steps before it on CUDA, is not finite.
        """
        self._steps += 1
        self._unchecked.append((step, epoch, dict(values)))
        if len(self._unchecked) >= self._patience:
            self.check()

    def check(self) -> None:
        """Check all losses added so far.

        Raises:
            TrainingError: see :meth:`losses`.
        """
        waiting, self._unchecked = self._unchecked, []
        figures = iter(_read([value for _, _, values in waiting for value in values.values()]))
        for step, epoch, values in waiting:
            if not values:
                continue
            row = {name: next(figures) for name in values}
            for loss, value in row.items():
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss '{loss}' is {value} at step {step} (epoch {epoch + 1})",
                        where=f"training '{self._name}'",
                        remedy="Lower the learning rate or clip gradients; the last good checkpoint was kept",
                    )
                total, count = self._sums.get(loss, (0.0, 0))
                self._sums[loss] = (total + value, count + 1)
            self._latest = row
            self._at = (step, epoch)
            if step % self._window == 0:
                self.close_window()

    def validation(self, step: int, epoch: int, figures: Mapping[str, float]) -> None:
        """Add validation figures.

        Raises:
            TrainingError: one is not finite.
        """
        for name, value in figures.items():
            if not math.isfinite(value):
                raise TrainingError(f"'{name}' is {value} on validation", where=f"training '{self._name}', step {step}")
            self._enter("validation", step, epoch, name, float(value))

    def samples(self, step: int, epoch: int, images: Mapping[str, Tensor]) -> None:
        """Add sample images, B x C x H x W in [0, 1]: the first channel, the B images of a name side by side."""
        for name, batch in images.items():
            strip = torch.cat(list(batch.detach().float().cpu()[:, 0]), dim=1)
            pixels = (strip.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).numpy()
            self.history.samples.append(SampleImage(self._name, step, epoch, name, np.ascontiguousarray(pixels)))
            self._events.image(f"{self._name}/{name}", pixels, step)

    def latest(self) -> dict[str, float]:
        """The losses at the last check; a single loss is named "loss"."""
        if len(self._latest) == 1:
            return {"loss": next(iter(self._latest.values()))}
        return dict(self._latest)

    def speed(self, batch_size: int) -> float:
        """Images per second since the first step of this process, which is not counted (it warms up)."""
        if self._clock is None:
            self._clock = (time.monotonic(), self._steps)
            return 0.0
        since, steps = self._clock
        return round(batch_size * (self._steps - steps) / max(time.monotonic() - since, 1e-9), 1)

    def close_window(self) -> None:
        """Enter the mean losses since the last entry."""
        step, epoch = self._at
        for name, (total, count) in self._sums.items():
            self._enter("train", step, epoch, name, total / count)
        self._sums = {}

    def state_dict(self) -> dict[str, Any]:
        """The history and the open window."""
        sums = {name: list(pair) for name, pair in self._sums.items()}
        return {"history": self.history.state_dict(), "sums": sums, "at": list(self._at)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from :meth:`state_dict`."""
        self.history = History.from_state(state["history"])
        self._sums = {name: (total, count) for name, (total, count) in state["sums"].items()}
        self._at = (state["at"][0], state["at"][1])

    def _enter(self, phase: Phase, step: int, epoch: int, name: str, value: float) -> None:
        self.history.entries.append(HistoryEntry(self._name, phase, step, epoch, name, value))
        self._events.scalar(f"{self._name}/{phase}/{name}", value, step)
