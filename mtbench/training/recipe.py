"""A model's definition of its training: networks, optimisers, and which losses update which of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Part = dict[str, Any]
"""A batch, or one of its parts under gradient accumulation: the sampler's tensors on the device, by name. It lives for
one step; an update can read what an earlier update has written into it.
"""

Losses = Mapping[str, Tensor]
"""Weighted scalar losses by name; their sum is minimised. Each a mean over the part's images."""


@dataclass(frozen=True)
class Moment:
    """The current position in training.

    Attributes:
        step: updates done so far.
        epoch: epochs done so far (the current one, counted from 0).
        steps_per_epoch: batches in an epoch.
        fraction: the used share of the budget, 0 <= fraction < 1 (1 at the very end).
        epochs: the length of the fit in epochs, if the budget is only in epochs; otherwise ``None``.
    """

    step: int
    epoch: int
    steps_per_epoch: int
    fraction: float
    epochs: int | None = None


class Stateful(Protocol):
    """Any other state that changes in training: an image pool, a running mean of weights."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, text, lists and dicts."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore the state from :meth:`state_dict`; tensors are on the CPU."""


class Recipe:
    """Base class for :func:`mtbench.training.train`. Implement ``step``; the other methods are optional.

    Args:
        networks: trained and saved, by name. Build them on the CPU under ``seeded(...)``; ``train`` moves them to the
            device in place (so optimisers may be created before) and into train mode.
        optimisers: by name, over parameters of the networks.
        extras: other objects with state, also saved in checkpoints.
        frozen: networks that are used but neither trained nor saved (a perceptual loss): on the device, in eval mode,
            without gradients.
        batch_statistics: whether splitting a batch changes the gradients (default: whether a network has batch
            normalisation). Such batches are never split to save memory.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimisers: Mapping[str, Optimizer],
        *,
        extras: Mapping[str, Stateful] | None = None,
        frozen: Mapping[str, nn.Module] | None = None,
        batch_statistics: bool | None = None,
    ) -> None:
        self.networks = dict(networks)
        self.optimisers = dict(optimisers)
        self.extras: dict[str, Any] = dict(extras or {})
        self.frozen = dict(frozen or {})
        if batch_statistics is None:
            modules = (m for network in self.networks.values() for m in network.modules())
            batch_statistics = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules)
        self.batch_statistics = batch_statistics

    def step(self, step: Step) -> None:
        """One training step: one or more calls of ``step.update``."""
        raise NotImplementedError

    def schedule(self, moment: Moment) -> None:
        """Called before each step: set learning rates and loss weights as functions of ``moment`` alone."""

    def validate(self, moment: Moment) -> Mapping[str, float]:
        """Figures on validation data; ``"score"`` (higher is better) selects the best weights and decides when to stop.

        Called without gradients and with all networks in eval mode, if ``train`` has ``validate_every``.
        """
        raise NotImplementedError

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """Sample images, by name: B x C x H x W in [0, 1]; the first channel is shown. Called like ``validate``."""
        raise NotImplementedError


class Step:
    """One training step, as ``Recipe.step`` sees it.

    Attributes:
        moment: the position in training.
        parts: the batch; more than one part under gradient accumulation.
        rng: for draws of this step outside torch; torch's own generators are reseeded before each step.
    """

    def __init__(
        self,
        recipe: Recipe,
        moment: Moment,
        parts: Sequence[Part],
        shares: Sequence[float],
        rng: np.random.Generator,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.moment = moment
        self.parts = list(parts)
        self.rng = rng
        self.values: dict[str, Tensor] = {}
        self._recipe = recipe
        self._shares = shares
        self._autocast = autocast

    def forward(self, run: Callable[[Part], None]) -> None:
        """Call ``run`` on each part, in the context's precision and with gradients of every network.

        For results that several updates share, as in models that update the critic first and then back-propagate
        through an earlier translation. The graphs of all parts are kept until they are used.
        """
        for part in self.parts:
            with self._autocast():
                run(part)

    def update(
        self, names: str | Sequence[str], losses: Callable[[Part], Losses], *, clip: float | None = None
    ) -> None:
        """Minimise ``losses`` by one step of the optimisers ``names``.

        Gradients start at zero, are summed over the parts (each by its share of the batch) and reach only the
        parameters of those optimisers: all other trained networks are frozen during the update. The losses' values
        are logged under their names.

        Args:
            names: of one or several optimisers.
            losses: called with each part, in the context's precision.
            clip: the largest total norm of the gradients; larger ones are scaled down to it.
        """
        optimisers = [self._recipe.optimisers[n] for n in ([names] if isinstance(names, str) else names)]
        parameters = [p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        with self._only(parameters):
            for part, share in zip(self.parts, self._shares, strict=True):
                with self._autocast():
                    terms = losses(part)
                    total = torch.stack([loss.float() for loss in terms.values()]).sum()
                (total * share).backward()  # type: ignore[no-untyped-call]
                for name, loss in terms.items():
                    value = loss.detach().float() * share
                    values[name] = values[name] + value if name in values else value
        self.values.update(values)
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        for optimiser in optimisers:
            optimiser.step()

    def note(self, **figures: Tensor | float) -> None:
        """Log figures that are not minimised (a critic's accuracy)."""
        for name, figure in figures.items():
            self.values[name] = figure.detach().float() if isinstance(figure, Tensor) else torch.tensor(figure)

    @contextmanager
    def _only(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        ids = {id(p) for p in parameters}
        others = [
            p
            for network in self._recipe.networks.values()
            for p in network.parameters()
            if p.requires_grad and id(p) not in ids
        ]
        for p in others:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in others:
                p.requires_grad_(True)
