"""The declaration of a challenge: how it scores a submission and how it ranks teams."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from mtbench.errors import PluginError
from mtbench.registry import contracts
from mtbench.registry.basespec import Params, Spec


@dataclass(frozen=True)
class ChallengeMetric:
    """One metric of a challenge.

    Args:
        name: as in the challenge's own results ("ms_ssim").
        higher_is_better: the direction.
        title: the printed name; empty for ``name``.
        measure_unit: unit of the value ("HU"); empty for a plain number.
        decimals: digits after the point in tables.
        bounds: the smallest and largest possible value of a case; intervals stay within them.
    """

    name: str
    higher_is_better: bool
    title: str = ""
    measure_unit: str = ""
    decimals: int = 4
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class ChallengeSpec(Spec[contracts.Challenge]):
    """Scores a submission as a challenge does, and perhaps ranks teams by its rule.

    The class is a :class:`~mtbench.registry.contracts.Challenge`; with a ``rule`` it is also a
    :class:`~mtbench.registry.contracts.RankingRule`. It may be a :class:`~mtbench.registry.contracts.ResultsFile` and
    an :class:`~mtbench.registry.contracts.ExampleSubmission`, which lets ``mtbench check`` test more.

    Args:
        title: its printed name ("SynthRAD2025").
        metrics: its metrics, in the order of tables; empty for a challenge that only ranks.
        files: the files of a submission and of its truth, in a sentence or two; shown if a folder holds none of them.
        rule: the ranking rule in one sentence; empty without one.
        unavailable: what the challenge also computes and this plugin does not, one sentence each; on every row.
    """

    kind: ClassVar[str] = "challenge"
    contract: ClassVar[type] = contracts.Challenge

    title: str = field(default="", kw_only=True)
    metrics: tuple[ChallengeMetric, ...] = field(default=(), kw_only=True)
    files: str = field(default="", kw_only=True)
    rule: str = field(default="", kw_only=True)
    unavailable: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [metric.name for metric in self.metrics]
        if twice := [name for name in names if names.count(name) > 1]:
            raise PluginError(
                f"two metrics are called '{twice[0]}'",
                where=f"ChallengeSpec '{self.name}'",
                expected="a different name for each",
            )

    def requires(self, plugin: object, params: Params) -> tuple[type, ...]:
        """``rank`` too, if it has a rule."""
        return (self.contract, contracts.RankingRule) if self.rule else (self.contract,)
