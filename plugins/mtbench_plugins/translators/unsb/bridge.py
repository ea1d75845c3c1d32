"""The discretised Schroedinger bridge: its time grid, its transitions and its walks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

Draw = Callable[[tuple[int, ...]], Tensor]
"""Gives standard normal noise, B x the shape it is called with."""

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A generator: a point of the bridge, step indices and noise to the predicted target."""


@dataclass(frozen=True)
class Bridge:
    """The path from a source to a target image.

    Attributes:
        num_timesteps: steps, each one evaluation of the generator.
        tau: variance of the bridge's noise.
        z_width: length of the generator's noise vector.
    """

    num_timesteps: int = 5
    tau: float = 0.01
    z_width: int = 256

    @property
    def grid(self) -> tuple[float, ...]:
        """``num_timesteps + 1`` times from 0; (0, .5, .74, .86, .94, 1) for five.

        Harmonic increments 1, 1/2, 1/3 ... of the second half, after a first jump to the middle.
        """
        sums = list(accumulate([0.0, *(1.0 / k for k in range(1, self.num_timesteps))]))
        return (0.0, *(0.5 + 0.5 * s / (sums[-1] or 1.0) for s in sums))

    def advance(self, x: Tensor, predicted: Tensor, step: int, noise: Tensor) -> Tensor:
        """From the point at ``step - 1``, and the target predicted there, to the point at ``step``."""
        delta = self.grid[step] - self.grid[step - 1]
        a = delta / (1.0 - self.grid[step - 1])
        spread = float((delta * (1.0 - a) * self.tau) ** 0.5)
        return (1.0 - a) * x + a * predicted + spread * noise

    def walk(self, generator: Predict, source: Tensor, steps: int, draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
        """Walk from ``source`` for ``steps`` evaluations; yields each point and the target predicted from it.

        Noise is drawn in the order of the released code: the generator's, then from step to step the
        bridge's and the generator's.
        """
        x = source
        for step in range(steps):
            predicted = self.predict(generator, x, step, draw)
            yield x, predicted
            if step + 1 < steps:
                x = self.advance(x, predicted, step + 1, draw(tuple(x.shape[1:])))

    def reach(self, generator: Predict, source: Tensor, step: int, draw: Draw) -> Tensor:
        """The point at ``step`` of a walk from ``source``, B x C x H x W; ``step`` evaluations."""
        x = source
        for index in range(step):
            predicted = self.predict(generator, x, index, draw)
            x = self.advance(x, predicted, index + 1, draw(tuple(x.shape[1:])))
        return x

    def predict(self, generator: Predict, x: Tensor, step: int, draw: Draw) -> Tensor:
        """The target that the generator sees from ``x`` at ``step``."""
        index = torch.full((len(x),), step, dtype=torch.int64, device=x.device)
        return generator(x, index, draw((self.z_width,)))
