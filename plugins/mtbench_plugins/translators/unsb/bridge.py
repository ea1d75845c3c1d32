"""The discretised Schroedinger bridge: its time grid, its transition and its sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

import torch
from torch import Tensor

Draw = Callable[[tuple[int, ...]], Tensor]
"""Standard normal noise of the given shape after the batch axis, B x shape."""

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A generator: point of the bridge, step indices, noise to predicted target."""


def time_grid(num_timesteps: int) -> tuple[float, ...]:
    """``num_timesteps + 1`` times from 0 to 1; (0, .5, .74, .86, .94, 1) for five.

    Harmonic increments 1, 1/2, 1/3 ... of the second half, after a first jump to the middle.
    """
    sums = list(accumulate([0.0, *(1.0 / k for k in range(1, num_timesteps))]))
    return (0.0, *(0.5 + 0.5 * s / (sums[-1] or 1.0) for s in sums))


def advance(x: Tensor, predicted: Tensor, step: int, grid: tuple[float, ...], tau: float, noise: Tensor) -> Tensor:
    """From the bridge's point at ``step - 1`` and the target predicted there to its point at ``step``."""
    delta = grid[step] - grid[step - 1]
    a = delta / (1.0 - grid[step - 1])
    return (1.0 - a) * x + a * predicted + (delta * (1.0 - a) * tau) ** 0.5 * noise


def walk(
    generator: Predict,
    source: Tensor,
    steps: int,
    *,
    grid: tuple[float, ...],
    tau: float,
    z_width: int,
    draw: Draw,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Walk the bridge from ``source`` for ``steps`` network evaluations.

    Noise is drawn in the order of the released code: at each step first the bridge's (from step 1 on), then
    the generator's.

    Yields:
        at each step: the point the generator saw and the target it predicted, B x C x H x W each.
    """
    x = source
    predicted = source
    for step in range(steps):
        if step > 0:
            x = advance(x, predicted, step, grid, tau, draw(tuple(source.shape[1:])))
        index = torch.full((len(source),), step, dtype=torch.int64, device=source.device)
        predicted = generator(x, index, draw((z_width,)))
        yield x, predicted
