"""What the journal of a results directory records of its runs: the units, the commands and the suites."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtbench.analysis.columns import anonymise
from mtbench.errors import MtbenchError
from mtbench.results.blind import blinding
from mtbench.results.directory import Results
from mtbench.results.entries import RunAsked, UnitAsked
from mtbench.store.files import read_regular

PATH_OPTIONS = ("--plugin", "--config", "--out", "--store")
_PATH = re.compile(r"~|\.{0,2}[\\/]|[A-Za-z]:[\\/]")
_STRINGS = r"'''.*?'''|\"\"\"(?:\\.|.)*?\"\"\"|'[^'\n]*'|\"(?:\\.|[^\"\\\n])*\""
_VALUE = re.compile(rf"(?s)(?:(?P<key>[\w.-]+)\s*=\s*(?P<list>\[\s*)?)?(?P<text>{_STRINGS})")
_PATH_KEYS = re.compile(r"root|file|folder|path|weights|checkpoint|store|out", re.IGNORECASE)


@dataclass(frozen=True)
class Command:
    """A command that was run.

    Attributes:
        text: its words, quoted for a shell.
        suite: name of the suite's file, or of the registered suite.
        toml: the suite's text; empty if it is a registered suite or its copy is missing.
    """

    text: str
    suite: str
    toml: str = ""


class Records:
    """The journal of a result; empty for published scores.

    Args:
        results: a results directory, or ``published:NAME``.
        private: show folders, hosts and comments.
    """

    def __init__(self, results: str, *, private: bool = False) -> None:
        self._folder = None if results.startswith("published:") else Path(results)
        self._private = private
        entries = list(Results.open(self._folder).entries()) if self._folder else []
        self._blind: Callable[[str], str] = blinding(entries)
        self._requests = [entry for entry in entries if isinstance(entry, RunAsked)]
        self.units = {entry.unit_key: entry for entry in entries if isinstance(entry, UnitAsked)}

    def lineage(self, key: str) -> list[str]:
        """The keys of a unit and of all units it depends on, each once, nearest first."""
        keys = {key: None}
        waiting = [key]
        while waiting:
            unit = self.units.get(waiting.pop(0))
            for other in unit.inputs.values() if unit else ():
                if other not in keys:
                    keys[other] = None
                    waiting.append(other)
        return list(keys)

    def clean(self, text: str) -> str:
        """``text`` without folders, hosts and accounts, unless private."""
        return text if self._private else anonymise(self._blind(text))

    def commands(self) -> list[Command]:
        """The distinct commands of all runs, oldest first."""
        commands = {}
        for request in self._requests:
            suite = request.typed or request.copy or request.suite
            out = ["--out", request.out] if request.out and self._private else []
            text = shlex.join(["mtbench", "run", *self._words([suite, *request.options, *out])])
            commands[text] = Command(text, _last(suite), self._toml(request.copy))
        return list(commands.values())

    def _words(self, words: Sequence[str]) -> Iterable[str]:
        """Words of a command; paths without their folders unless private."""
        before = "--config"  # the suite comes first and may be a path
        for word in words:
            head, sign, value = word.rpartition("=")
            is_path = _PATH.match(value) or (before in PATH_OPTIONS and re.search(r"[\\/]", value))
            yield word if self._private else self.clean(head + sign + (_last(value) if is_path else value))
            before = word

    def _toml(self, copy: str) -> str:
        """The copy of a suite, without comments and folders unless private."""
        if not copy or self._folder is None:
            return ""
        try:
            text = read_regular(self._folder / Path(copy).name).decode("utf-8-sig", "replace")
        except (OSError, MtbenchError):
            return ""
        return text if self._private else self.clean(without_folders(without_comments(text)))


def _last(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or path


def without_folders(toml: str) -> str:
    """TOML whose strings that are paths keep their last part only."""

    def shorten(match: re.Match[str]) -> str:
        text = match["text"]
        value = text.strip("'\"")
        is_path = _PATH.match(value) or ("/" in value and match["key"] and _PATH_KEYS.search(match["key"]))
        return match[0].replace(value, f"…/{_last(value)}") if is_path else match[0]

    return _VALUE.sub(shorten, toml)


def without_comments(toml: str) -> str:
    """TOML without its comments, which may name people; ``#`` inside strings stays."""
    text = re.sub(rf"(?s)({_STRINGS})|[ \t]*#[^\n]*", lambda match: match[1] or "", toml)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
