"""The result of a check, and how a check reports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mtbench.typed import Record

Status = Literal["passed", "failed", "untried"]


class FailedError(Exception):
    """The plugin fails the check; with the reason and the fix."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix


class UntriedError(Exception):
    """The check could not be run; with the reason."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: in messages.
        run: receives the :class:`~mtbench.conformance.subject.Subject`; returns a comment if the check passes.
        after: the checks that must pass first.
        beside: whether it runs once more with all other installed plugins loaded.
    """

    name: str
    run: Callable[[Any], str]
    after: tuple[str, ...] = ("object",)
    beside: bool = False


@dataclass(frozen=True)
class Verdict(Record):
    """The result of one check.

    Attributes:
        check: its name.
        status: "passed", "failed" or "untried".
        text: the observation, or the reason if the check failed or could not be run.
        fix: the remedy for a failure.
        seconds: duration.
    """

    check: str
    status: Status
    text: str = ""
    fix: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report(Record):
    """The verdicts on one plugin.

    Attributes:
        kind, name: of the plugin.
        origin: its distribution and version, or its file.
        verdicts: in the order of the checks.
    """

    kind: str
    name: str
    origin: str
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> list[Verdict]:
        """The checks that failed."""
        return [verdict for verdict in self.verdicts if verdict.status == "failed"]

    def of(self, check: str) -> Verdict:
        """The verdict of one check.

        Raises:
            KeyError: there was no such check.
        """
        for verdict in self.verdicts:
            if verdict.check == check:
                return verdict
        raise KeyError(check)
