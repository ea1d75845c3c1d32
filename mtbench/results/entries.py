"""The entries of a journal: a class for each type of line, and their validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from mtbench.results.schema import ATTEMPTS, CASES, SCHEMA_VERSION, SCORES, check_cells
from mtbench.typed import MismatchError, Record, Rule

Count = Annotated[int, Rule("a whole number from 0", lambda number: number >= 0)]
Amount = Annotated[float, Rule("a finite number from 0", lambda number: 0 <= number < math.inf)]


def _list_of(*kinds: type, words: str) -> Rule:
    """A rule for a long list, whose values are not converted one by one."""
    return Rule(f"a list of {words}", lambda values: {*map(type, values)} <= {*kinds})


Texts = Annotated[list[str], _list_of(str, words="texts")]


def _columns(raw: Any) -> Any:
    for cells in raw if isinstance(raw, list) else [raw]:
        if not isinstance(cells, dict):
            raise MismatchError("a table", f"the columns are {cells!r:.60}")
        check_cells(cells, SCORES.names)
        for name in ("row_id", "schema_version", "status"):
            if cells.get(name, "") is None:
                raise MismatchError(what=f"{name} is null")
    return raw


@dataclass(frozen=True, kw_only=True)
class Entry(Record):
    """A line of a journal.

    Attributes:
        at: time of writing, seconds since the epoch.
        run: the run that wrote it.
    """

    type: ClassVar[str]
    at: Amount = 0.0
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Order(Entry):
    """The row ids in the order of the suite."""

    type = "order"
    rows: Texts


@dataclass(frozen=True, kw_only=True)
class UnitAsked(Entry):
    """The request of a unit; see :class:`mtbench.stages.unit.Unit`."""

    type = "unit"
    unit_key: str
    name: str
    stage: str = ""
    kind: str = ""
    plugin: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    seed: Count | None = None
    precision: str = ""
    threads: Count | None = None


@dataclass(frozen=True, kw_only=True)
class RunAsked(Entry):
    """The command of a run; see :meth:`mtbench.engine.request.RunRequest.record`.

    Attributes:
        suite, typed: the suite's file, as a full path and as typed.
        out: the results directory, if it was named.
        copy: name of the suite's copy beside the journal.
        options: the other words.
        places, hosts: names that blind exports omit; see :func:`mtbench.results.blind.surroundings`.
    """

    type = "request"
    suite: str
    typed: str = ""
    out: str | None = None
    copy: str = ""
    options: Texts = field(default_factory=list)
    places: Texts = field(default_factory=list)
    hosts: Texts = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Try(Entry):
    """The columns of the table of attempts."""

    unit_key: str
    stage: str
    name: str
    attempt: Count
    status: str
    suite: str = ""
    reason: str = ""
    error_type: str = ""
    log: str = ""
    started: str = ""
    seconds: Amount = 0.0
    images: Count | None = None
    peak_memory_mb: Amount | None = None
    host_memory_mb: Amount | None = None
    device: str = ""
    host: str = ""
    executor: str = ""
    plugins: str = ""
    git_commit: str = ""
    environment_id: str = ""
    artefact: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        check_cells({"plugins": self.plugins}, ATTEMPTS.names)

    @property
    def this(self) -> tuple[str, str, int]:
        """Run, unit and number, which a beginning and its end share."""
        return self.run, self.unit_key, self.attempt


@dataclass(frozen=True, kw_only=True)
class Attempt(_Try):
    """An attempt at a unit has ended."""

    type = "attempt"

    @property
    def good(self) -> bool:
        """Whether the unit has an artefact now."""
        return self.status in ("ok", "cached")

    def columns(self) -> dict[str, object]:
        """As a row of the table."""
        own = {"schema_version": SCHEMA_VERSION, **vars(self)}
        return {name: own[name] for name in ATTEMPTS.names}


@dataclass(frozen=True, kw_only=True)
class Begun(_Try):
    """An attempt at a unit has begun.

    Attributes:
        beat: the heartbeat file of its run.
    """

    type = "started"
    beat: str

    @classmethod
    def of(cls, attempt: Attempt, beat: str) -> Begun:
        """The entry for the beginning of an attempt."""
        return cls(**vars(attempt), beat=beat)

    def ended(self, **changes: Any) -> Attempt:
        """The entry for its end."""
        return Attempt(**({name: value for name, value in vars(self).items() if name != "beat"} | changes))


@dataclass(frozen=True)
class Source(Record):
    """A source that a row was computed from.

    Attributes:
        content: a hash of its content.
        change: the text for a reader if it differs: "the code of metric 'fid' has changed".
    """

    content: str
    change: str


@dataclass(frozen=True, kw_only=True)
class Resolved(Entry):
    """Sources whose content a run found changed, by name."""

    type = "current"
    made_from: Mapping[str, Source]


@dataclass(frozen=True, kw_only=True)
class CaseValues(Record):
    """The per-case values behind a score: lists of the same length; null for a case without a value."""

    label: str
    by: str
    case: Texts
    patient: Texts
    value: Annotated[list[float | None], _list_of(float, int, type(None), words="numbers")]

    def __post_init__(self) -> None:
        if not len(self.case) == len(self.patient) == len(self.value):
            raise MismatchError(what="some cases have no patient or no value")


@dataclass(frozen=True, kw_only=True)
class RowState(Entry):
    """The state of a row: measured, failed or skipped.

    Attributes:
        row: its id.
        columns: of the scores table; shared by all of its scores.
        scores: the other columns, one mapping for each label.
        cases: the values behind them.
        mark: a hash of its content.
        made_from: its sources, by name.
        of: the id of the original row, if a merge has kept this one as a replicate.
    """

    type = "row"
    row: str
    status: str
    columns: Annotated[dict[str, Any], _columns]
    scores: Annotated[list[dict[str, Any]], _columns]
    cases: tuple[CaseValues, ...]
    mark: str = ""
    made_from: Mapping[str, Source] = field(default_factory=dict)
    schema_version: Count = SCHEMA_VERSION
    of: str = ""

    @property
    def values(self) -> dict[str, float | None]:
        """The values, by label."""
        return {score.get("label") or "": score.get("value") for score in self.scores}

    def score_rows(self, stale: str) -> list[dict[str, object]]:
        """As rows of the scores table; ``stale`` is why they are out of date."""
        of = {"schema_version": self.schema_version, "row_id": self.row}
        return [{**of, **self.columns, "stale": stale, **score} for score in self.scores]

    def case_rows(self) -> list[dict[str, object]]:
        """As rows of the table of cases."""
        of = {"schema_version": self.schema_version, "row_id": self.row}
        of |= {name: self.columns[name] for name in CASES.names if name in self.columns}
        return [
            {**of, "label": group.label, "by": group.by, "case": case, "patient": patient, "value": value}
            for group in self.cases
            for case, patient, value in zip(group.case, group.patient, group.value, strict=True)
        ]


_TYPES: Mapping[str, type[Entry]] = {
    kind.type: kind for kind in (Order, UnitAsked, RunAsked, Begun, Attempt, Resolved, RowState)
}


def entry_of(raw: object) -> Entry:
    """The entry in a line of a journal; ``raw`` is its JSON without the checksum.

    Raises:
        ValueError: this version does not know it; the text says why.
    """
    if not isinstance(raw, dict) or "type" not in raw:
        raise ValueError("this is not a record of a journal")
    version = raw.get("schema_version", SCHEMA_VERSION)
    try:
        kind = _TYPES.get(raw["type"]) if isinstance(raw["type"], str) else None
        if kind is None:
            raise MismatchError("one of " + ", ".join(_TYPES), f"a record of type {raw['type']!r:.60}")
        return kind.from_json({name: value for name, value in raw.items() if name != "type"})
    except ValueError as error:
        other = f"; it has schema version {version!r:.60}, and this mtbench reads {SCHEMA_VERSION}"
        raise ValueError(f"{error}{other * (version != SCHEMA_VERSION)}") from error


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as the journal stores it."""
    return {"type": entry.type, **entry.to_json()}
