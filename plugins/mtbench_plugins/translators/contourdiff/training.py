"""ContourDiff's training: predict the noise in target slices from their own contours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from mtbench.compute.transfer import to_device
from mtbench.training import Losses, Moment, Part, Recipe, Step, scale_rates, seeded, signed, unsigned
from mtbench_plugins.translators.contourdiff.diffusion import Diffusion, Predict
from mtbench_plugins.translators.contourdiff.unet import DenoisingUNet, UNetConfig

PREVIEW_STEPS = 10
"""Of sampling, for the samples during a fit."""


class ContourDiffRecipe(Recipe):
    """One network and the mean squared error of the noise.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: source images to translate now and then, B x 1 x H x W in [0, 1], sides that the network takes.
        contours: of the preview, B x 1 x H x W of 0 and 1.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor, contours: Tensor) -> None:
        with seeded(seed):
            self.G = DenoisingUNet(UNetConfig.of(params))
        self.preview, self.contours = preview, contours
        self.noise_step, self.warmup = params["noise_step"], params["warmup"]
        self.diffusion = Diffusion(self.noise_step, min(PREVIEW_STEPS, self.noise_step), "ddim")
        betas = (params["beta1"], params["beta2"])
        super().__init__(networks={"G": self.G}, optimisers={"G": AdamW(self.G.parameters(), params["lr"], betas)})

    def schedule(self, moment: Moment) -> None:
        """A linear start, then half a cosine to zero."""
        scale_rates(self.optimisers.values(), warm_cosine(moment, self.warmup))

    def step(self, step: Step) -> None:
        """Noise of a random strength for each image; its gradient is clipped."""
        step.update("G", self._losses, clip=1.0)

    def _losses(self, part: Part) -> Losses:
        clean, contours = signed(part["image"]), part["image_mask"][:, None].float()
        # Drawn on the CPU, so that a fit on a GPU draws the same.
        noise = to_device(torch.randn(clean.shape), str(clean.device))
        steps = torch.randint(self.noise_step, (len(clean),))
        x = self.diffusion.noisy(clean, noise, steps)
        predicted = self.G(conditioned(x, contours), to_device(steps, str(clean.device)))
        return {"noise": F.mse_loss(predicted.float(), noise)}

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """The preview, its contours and a translation in a few steps, from the same noise each time."""
        device = str(next(self.G.parameters()).device)
        contours = to_device(self.contours, device)
        noise = torch.randn(self.preview.shape, generator=torch.Generator().manual_seed(0))
        out = self.diffusion.sample(predictor(self.G, contours), lambda: to_device(noise, device))
        return {"source": self.preview, "contours": contours, "translated": unsigned(out)}


def conditioned(x: Tensor, contours: Tensor) -> Tensor:
    """The network's input, B x 2 x H x W: the noisy image in about [-1, 1], then its contours, 0 or 1."""
    return torch.cat([x, contours], dim=1)


def predictor(network: nn.Module, contours: Tensor) -> Predict:
    """The network with these contours, B x 1 x H x W; it returns float32."""

    def predict(x: Tensor, step: int) -> Tensor:
        steps = torch.full((len(x),), step, dtype=torch.int64, device=x.device)
        predicted: Tensor = network(conditioned(x, contours), steps)
        return predicted.float()

    return predict


def warm_cosine(moment: Moment, warmup: int) -> float:
    """The factor of the learning rate: from 0 to 1 in ``warmup`` steps, then half a cosine to 0 at the budget's end.

    ``get_cosine_schedule_with_warmup`` of diffusers; the number of steps is that of the budget, or estimated from its
    used share.
    """
    if moment.step < warmup:
        return moment.step / warmup
    total = moment.step / moment.fraction if moment.fraction > 0 else math.inf
    progress = (moment.step - warmup) / max(1.0, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
