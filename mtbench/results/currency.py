"""Which rows of a results directory are stale: a source of theirs has changed, according to the last run.

The record of each row lists its sources (``made_from``): the test and training slices, the code of its plugins, their
files, and the fits. If a later run finds other content for one of these sources, the rows that it does not recompute
become stale. The order in the journal decides, not a clock. Merged directories have no last run: their records hold no
sources, and nothing in them is stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from mtbench.results.entries import Entry, Resolved, RowState, RunAsked


def current_sources(entries: Iterable[Entry]) -> dict[str, str]:
    """The most recent content of every source, by name."""
    current: dict[str, str] = {}
    resolving = [entry for entry in entries if isinstance(entry, RowState | Resolved)]
    for entry in sorted(resolving, key=lambda entry: entry.at):
        current.update({name: source.content for name, source in entry.made_from.items()})
    return current


def changes(state: RowState, current: Mapping[str, str]) -> str:
    """What has changed since a row was computed, as one clause; empty for a row that is up to date."""
    texts = [s.change for name, s in state.made_from.items() if current.get(name, s.content) != s.content]
    return "; ".join(dict.fromkeys(texts))


def renewal(request: RunAsked | None) -> str:
    """The command that recomputes a row, from the request of the run that computed it; empty if that is unknown."""
    if not request:
        return ""
    out = ["--out", request.out] if request.out else []
    return shlex.join(["mtbench", "run", request.typed or request.suite, *request.options, *out])
