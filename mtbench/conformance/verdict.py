"""What came of a check, and how a check says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mtbench.typed import Record

Status = Literal["passed", "failed", "untried"]


class FailedError(Exception):
    """The plugin breaks what the check asks for; with the reason and the fix."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.fix = fix


class UntriedError(Exception):
    """The check could not be tried; with the reason."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: what people call it.
        run: is given the :class:`~mtbench.conformance.subject.Subject`; gives what is worth knowing where it passes.
        after: the checks without which it cannot be tried.
        beside: whether it is tried once more beside the other plugins that are installed.
    """

    name: str
    run: Callable[[Any], str]
    after: tuple[str, ...] = ("object",)
    beside: bool = False


@dataclass(frozen=True)
class Verdict(Record):
    """What came of one check.

    Attributes:
        check: its name.
        status: "passed", "failed" or "untried".
        text: what was seen; the reason where it failed or could not be tried.
        fix: what to do about a failure.
        seconds: how long it took.
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
        kind, name: which.
        origin: its distribution and version, or its file.
        verdicts: in the order in which the checks were tried.
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
