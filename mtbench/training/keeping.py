"""Keeps checkpoints along the way of a training, by the share of its budget that is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mtbench.compute.context import Context
from mtbench.compute.kept import kept_steps

Save = Callable[[Path], None]
"""Writes the model, with its networks as they are, into a folder."""


class Keeper:
    """The checkpoints that ``context.kept`` asks for; none if it asks for none or the training has no ``save``.

    Args:
        context: of the fit.
        save: of the training.
        steps: of the whole training; ``None`` if its budget is in minutes.

    Raises:
        ParamError: the training is too short for so many checkpoints.
    """

    def __init__(self, context: Context, save: Save | None, steps: int | None) -> None:
        self._kept = context.kept if save is not None else None
        self._save = save
        self._share = 0.0
        if self._kept is not None and steps is not None:
            kept_steps(self._kept.keep, steps)

    def resume(self, share: float) -> None:
        """Start at this share of the budget: an earlier attempt has kept the checkpoints up to there."""
        self._share = share

    def due(self, share: float) -> list[int]:
        """The checkpoints to keep now that this share of the budget is used, by part (8: after 1/8)."""
        before, self._share = self._share, share
        return [] if self._kept is None else self._kept.due(before, share)

    def save(self, part: int, step: int) -> None:
        """Keep a checkpoint after ``step`` updates."""
        assert self._kept is not None
        assert self._save is not None
        self._kept.save(part, step, self._save)

    def end(self, step: int) -> None:
        """Record the step of the final checkpoint."""
        if self._kept is not None:
            self._kept.passed(1, step)
