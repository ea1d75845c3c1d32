"""Which rows of a results directory are stale: made from something that its last run found to be different.

Every row's record lists its sources (``made_from``): the test and training slices that were read, the code of its
plugins, the files that they were given, the fits. A later run that resolves one of these sources to other content makes
the rows stale that it did not make again. The order of the journal decides, no clock of a file. Merged directories have
no last run: their records hold no sources, and nothing in them is stale.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mtbench.typed import Record


@dataclass(frozen=True)
class Source(Record):
    """Something that a row was made from.

    Attributes:
        content: a hash of what it was.
        change: what a reader is told when it differs: "the code of metric 'fid' has changed".
    """

    content: str
    change: str


def sources_of(record: Mapping[str, Any]) -> dict[str, Source]:
    """The sources that a journal record resolves, by name; of records of other kinds, none."""
    return {name: Source.from_json(raw) for name, raw in record.get("made_from", {}).items()}


def current_sources(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The content of every source as it was resolved last, by name."""
    current: dict[str, str] = {}
    for record in sorted((r for r in records if "made_from" in r), key=lambda record: record.get("at", 0.0)):
        current.update({name: source.content for name, source in sources_of(record).items()})
    return current


def changes(record: Mapping[str, Any], current: Mapping[str, str]) -> str:
    """What has changed since a row was made, as one clause; empty for a row that is current."""
    texts = [s.change for name, s in sources_of(record).items() if current.get(name, s.content) != s.content]
    return "; ".join(dict.fromkeys(texts))


def renewal(request: Mapping[str, Any] | None) -> str:
    """The command that makes a row again, from the record of the run that made it; empty where that is not known."""
    if not request:
        return ""
    out = ["--out", request["out"]] if request.get("out") else []
    return shlex.join(["mtbench", "run", request.get("typed") or request["suite"], *request["options"], *out])
