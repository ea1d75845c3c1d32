"""Tools for recipes of adversarial models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from mtbench.training.recipe import Moment


def signed(images: Tensor) -> Tensor:
    """[0, 1] to [-1, 1], the range of most translation networks."""
    return images * 2.0 - 1.0


def unsigned(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clamped."""
    return ((images + 1.0) * 0.5).clamp(0.0, 1.0)


def scale_rates(optimisers: Iterable[Optimizer], factor: float) -> None:
    """Set every learning rate to ``factor`` times its optimiser's initial one."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def linear_decay(moment: Moment, hold: float = 0.5) -> float:
    """The factor of a learning rate that is constant for a share ``hold`` of the fit and then falls to 0.

    With a budget of E epochs the factor changes once per epoch and is CycleGAN's,
    1 - max(0, epoch + 1 - n) / (E - n + 1), where n = ``hold`` E epochs are constant. With any other budget it is
    1 - max(0, f - hold) / (1 - hold), where f is the used share of the budget.
    """
    if moment.epochs is not None:
        constant = round(moment.epochs * hold)
        return 1.0 - max(0, moment.epoch + 1 - constant) / (moment.epochs - constant + 1)
    return 1.0 - max(0.0, moment.fraction - hold) / (1.0 - hold) if hold < 1.0 else 1.0


class ImagePool:
    """Past translations to show the critic (Shrivastava et al. 2017), image by image.

    The first ``size`` images are stored and returned. After that, with probability one half, a random stored image is
    returned and the new one stored in its place; otherwise the new one is returned.

    Args:
        size: number of stored images; 0 returns every image unchanged.
    """

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """As many images as in the input, B x ...; detached. Pass the step's ``rng``."""
        result = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif self.size > 0 and rng.random() < 0.5:
                place = int(rng.integers(self.size))
                # The new image replaces the old one, which remains only in the batch.
                self.images[place], image = image.clone(), self.images[place].to(image.device)
            result.append(image)
        query = torch.stack(result)
        last = torch.channels_last
        return query.contiguous(memory_format=last) if images.is_contiguous(memory_format=last) else query

    def state_dict(self) -> dict[str, Any]:
        """The stored images."""
        return {"images": list(self.images)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore stored images."""
        self.images = list(state["images"])
