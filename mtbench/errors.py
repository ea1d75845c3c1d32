"""The errors of mtbench. Each message says where, what is wrong, what was expected and how to fix it."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class MtbenchError(Exception):
    """Base class of all errors that mtbench raises deliberately.

    Args:
        what: what is wrong; one sentence without its full stop.
        where: the file, key, plugin or unit concerned.
        expected: what would have been valid.
        remedy: how the user can fix it.
        matches: valid names that resemble a misspelt one.
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
        ended = [s if s.endswith((".", "?", "!", "\n")) else s + "." for s in sentences]
        return "".join(s if s.endswith("\n") else s + " " for s in ended).rstrip(" ")

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
    """An error in the request: a suite, an option, a path. Exit code 2."""


class SuiteError(RequestError):
    """A suite file that is not valid."""


class ParamError(RequestError):
    """A plugin parameter that does not exist or has the wrong type or value."""


class PluginError(MtbenchError):
    """A plugin that is missing, fails, or violates its contract."""


class DataError(MtbenchError):
    """Images, masks or tables that cannot be used."""


class TrainingError(MtbenchError):
    """A fit that cannot continue, such as one with a loss that is not finite."""


class WeightsError(MtbenchError):
    """A weight file or checkpoint that is missing, altered, or belongs to another network."""


class StoreError(MtbenchError):
    """An artefact or a results directory that is missing, locked or damaged."""


class DamagedError(StoreError):
    """The content of an artefact has changed since it was written, or part of it is missing."""


class DiskFullError(StoreError):
    """The disk is full. The run stops, because every further unit would fail for the same reason."""


class LeaseLostError(StoreError):
    """Another run has taken over the unit that this run was computing."""


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM."""


class MtbenchWarning(UserWarning):
    """A warning that the user should read; nothing was stopped."""


def warn(text: str) -> None:
    """Warn the user: a Python warning; on the command line, a line on standard error."""
    warnings.warn(MtbenchWarning(text), stacklevel=3)


def silent(text: str) -> None:
    """Say nothing; replaces :func:`warn` if the caller gives the same warning."""


def shorten(text: str, length: int = 100) -> str:
    """``text``, its middle cut out so that it has at most ``length`` characters, for messages."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}...{text[-half:]}"


def close_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Up to three names in ``known`` that resemble ``name``, best first."""
    return tuple(difflib.get_close_matches(name[:200], list(known), n=3, cutoff=0.5))
