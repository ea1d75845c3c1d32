"""How long a fit may take."""

from __future__ import annotations

from dataclasses import dataclass

from mtbench.errors import ParamError


@dataclass(frozen=True)
class Budget:
    """Epochs, steps or minutes; if several are set, the first to run out ends the fit.

    Args:
        epochs: passes over the sampler's positions.
        steps: batches.
        minutes: wall-clock time of training, earlier attempts of a resumed fit included. A fit that ends by it
            is not reproducible bit for bit.

    Raises:
        ParamError: nothing is set, or a value is not positive.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        limits = {k: v for k, v in vars(self).items() if v is not None}
        if not limits:
            raise ParamError("a fit has no budget", expected="at least one of epochs, steps and minutes")
        for name, value in limits.items():
            if not value > 0:
                raise ParamError(f"the budget's {name} is {value!r}", expected="a number above 0")

    def steps_at_most(self, steps_per_epoch: int) -> int | None:
        """Steps allowed by epochs and steps together; ``None`` where only minutes were given."""
        limits = [] if self.steps is None else [self.steps]
        if self.epochs is not None:
            limits.append(self.epochs * steps_per_epoch)
        return min(limits, default=None)

    def used(self, step: int, steps_per_epoch: int, seconds: float) -> float:
        """The share of the budget that is used after ``step`` steps and ``seconds``; 1 or more: it is
        over."""
        total = self.steps_at_most(steps_per_epoch)
        shares = [0.0 if total is None else step / total]
        if self.minutes is not None:
            shares.append(seconds / (60.0 * self.minutes))
        return max(shares)
