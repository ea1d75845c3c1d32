"""The diffusion process: adding noise, and one step back by DDPM or DDIM.

Ho, Jain, Abbeel: Denoising diffusion probabilistic models. NeurIPS 2020; Song, Meng, Ermon: Denoising diffusion
implicit models. ICLR 2021. The settings are the defaults of the schedulers of diffusers, which the original uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from mtbench.compute.transfer import to_device

Predict = Callable[[Tensor, int], Tensor]
"""A network: the noisy image and the time step to the noise in it."""


@dataclass(frozen=True)
class Diffusion:
    """A process of ``train_steps`` steps with variances that rise linearly from 1e-4 to 0.02.

    Attributes:
        train_steps: steps of the training.
        steps: of them used in sampling, evenly spaced from 0.
        sampler: "ddpm" (adds noise in every step but the last) or "ddim" (without noise).
    """

    train_steps: int = 1000
    steps: int = 50
    sampler: Literal["ddpm", "ddim"] = "ddim"

    @cached_property
    def kept(self) -> Tensor:
        """The product of 1 - variance up to each step: the share of the image's energy that is left; float32."""
        return torch.cumprod(1.0 - torch.linspace(1e-4, 0.02, self.train_steps), dim=0)

    @property
    def times(self) -> list[int]:
        """The time steps of sampling, from the noisiest."""
        return [i * (self.train_steps // self.steps) for i in reversed(range(self.steps))]

    def noisy(self, image: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """B x C x H x W images in [-1, 1] with ``noise``, as they are at the time steps B, which are on the CPU."""
        kept = to_device(self.kept[steps], str(image.device)).view(-1, 1, 1, 1)
        return kept.sqrt() * image + (1.0 - kept).sqrt() * noise

    def back(self, x: Tensor, predicted: Tensor, step: int, noise: Callable[[], Tensor]) -> Tensor:
        """From the time ``step`` to the one before it in sampling.

        Args:
            x: noisy images, B x C x H x W.
            predicted: the noise in them.
            step: the time.
            noise: draws standard normal noise like ``x``; called by "ddpm" only.
        """
        before = step - self.train_steps // self.steps
        left = self.kept[step].item()
        left_before = self.kept[before].item() if before >= 0 else 1.0
        clean = ((x - math.sqrt(1.0 - left) * predicted) / math.sqrt(left)).clamp(-1.0, 1.0)
        if self.sampler == "ddim":
            return math.sqrt(left_before) * clean + math.sqrt(1.0 - left_before) * predicted
        ratio, gone, gone_before = left / left_before, 1.0 - left, 1.0 - left_before
        of_clean, of_x = math.sqrt(left_before) * (1.0 - ratio) / gone, math.sqrt(ratio) * gone_before / gone
        mean = of_clean * clean + of_x * x
        if step == 0:
            return mean
        return mean + math.sqrt(max(gone_before / gone * (1.0 - ratio), 1e-20)) * noise()

    def sample(self, predict: Predict, draw: Callable[[], Tensor]) -> Tensor:
        """Images in about [-1, 1] from noise.

        Args:
            predict: the network with its condition.
            draw: standard normal noise B x C x H x W; called first for the start.
        """
        x = draw()
        for step in self.times:
            x = self.back(x, predict(x, step), step, draw)
        return x
