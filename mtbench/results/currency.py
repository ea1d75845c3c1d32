"""Which rows of a results directory are stale: made from something that its last run found to be different.

Every row's record lists its sources (``made_from``): the test and training slices that were read, the code of its
plugins, the files that they were given, the fits. A later run that resolves one of these sources to other content makes
the rows stale that it did not make again. The order of the journal decides, no clock of a file. Merged directories have
no last run: their records hold no sources, and nothing in them is stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from mtbench.results.entries import Entry, Resolved, RowState, RunAsked


def current_sources(entries: Iterable[Entry]) -> dict[str, str]:
    """The content of every source as it was resolved last, by name."""
    current: dict[str, str] = {}
    resolving = [entry for entry in entries if isinstance(entry, RowState | Resolved)]
    for entry in sorted(resolving, key=lambda entry: entry.at):
        current.update({name: source.content for name, source in entry.made_from.items()})
    return current


def changes(state: RowState, current: Mapping[str, str]) -> str:
    """What has changed since a row was made, as one clause; empty for a row that is current."""
    texts = [s.change for name, s in state.made_from.items() if current.get(name, s.content) != s.content]
    return "; ".join(dict.fromkeys(texts))


def renewal(request: RunAsked | None) -> str:
    """The command that makes a row again, from what the run that made it was asked; empty where that is not known."""
    if not request:
        return ""
    out = ["--out", request.out] if request.out else []
    return shlex.join(["mtbench", "run", request.typed or request.suite, *request.options, *out])
