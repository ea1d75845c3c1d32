"""What mtbench raises: one root, and texts that say what, where, what was expected and how to mend it."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class MtbenchError(Exception):
    """Root of every error that mtbench raises on purpose.

    Args:
        what: what is wrong, one sentence without the final full stop.
        where: the file, key, plugin or unit it happened in.
        expected: what would have been right.
        remedy: what the user can do about it.
        matches: close matches to a misspelt name.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
        matches: Iterable[str] = (),
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.remedy = remedy
        self.matches = tuple(matches)
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        sentences = [text]
        if self.matches:
            sentences.append("Did you mean " + " or ".join(f"'{m}'" for m in self.matches) + "?")
        if self.expected:
            sentences.append(f"Expected {self.expected}")
        if self.remedy:
            sentences.append(self.remedy)
        return " ".join(s if s.endswith((".", "?", "!")) else s + "." for s in sentences)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.expected, self.remedy, self.matches))


def _rebuild(
    cls: type[MtbenchError],
    what: str,
    where: str | None,
    expected: str | None,
    remedy: str | None,
    matches: tuple[str, ...],
) -> MtbenchError:
    return cls(what, where=where, expected=expected, remedy=remedy, matches=matches)


class RequestError(MtbenchError):
    """The request itself was wrong: a suite, an option, a path. Exit code 2."""


class SuiteError(RequestError):
    """A suite file that cannot be read as one."""


class ParamError(RequestError):
    """A plugin parameter that does not exist or has the wrong type or value."""


class PluginError(MtbenchError):
    """A plugin that is broken, missing, or that broke its contract."""


class DataError(MtbenchError):
    """Images, masks or tables that cannot be used as they are."""


class TrainingError(MtbenchError):
    """A fit that cannot go on: a loss that is not finite, memory that does not suffice."""


class WeightsError(MtbenchError):
    """A weight file or checkpoint that is missing, altered or of another network."""


class StoreError(MtbenchError):
    """An artefact or a results directory that is missing, locked or damaged."""


class DamagedError(StoreError):
    """What an artefact holds is not what was written there, or part of it is gone."""


class DiskFullError(StoreError):
    """There is no room left; a run stops, for every further unit would fail for the same reason."""


class LeaseLostError(StoreError):
    """Another run has taken over the unit that this one was at work on."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


class MtbenchWarning(UserWarning):
    """Something that a person should know, and that has stopped nothing."""


def warn(text: str) -> None:
    """Say something that a person should know: a warning in Python, a line on stderr on the command line."""
    warnings.warn(MtbenchWarning(text), stacklevel=3)


def silent(text: str) -> None:
    """Say nothing: in place of :func:`warn` where somebody else says the same."""


def shorten(text: str, length: int = 100) -> str:
    """``text`` cut in its middle to ``length`` characters, for a message about something over-long."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}...{text[-half:]}"


def close_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three names in ``known`` that resemble ``name``, best first."""
    return tuple(difflib.get_close_matches(name[:200], list(known), n=3, cutoff=0.5))
