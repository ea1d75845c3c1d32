"""What a metric reads: roles of image sets and masks by name, and extracted features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mtbench.data import Role
from mtbench.registry.basespec import Params
from mtbench.typed import check_fields


@dataclass(frozen=True)
class Features:
    """A metric's need of extracted features.

    Attributes:
        of: the images: "candidate" (translated images), "reference" (target test images) or "training" (target training
            images).
        extractor: the extractor's name; ``params`` are its parameters.
        arrays: the arrays that are read.
    """

    of: Literal["candidate", "reference", "training"]
    extractor: str
    arrays: tuple[str, ...]
    params: Params = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, f"Features of the extractor {self.extractor!r}")


Need = Role | Features


def reads_side(needs: tuple[Need, ...], side: Literal["reference", "training"]) -> bool:
    """Whether a metric with these needs reads this image set, or features of it."""
    return any((need if isinstance(need, str) else need.of) == side for need in needs)


def two_sided(needs: tuple[Need, ...]) -> bool:
    """Whether a metric with these needs reads real target test images besides the candidates."""
    return reads_side(needs, "reference")
