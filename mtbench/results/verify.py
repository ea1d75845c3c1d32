"""Verifies a results directory: every line, every table, and the tables against the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mtbench.errors import DamagedError, StoreError
from mtbench.results.directory import Results, last_states, view
from mtbench.results.entries import Begun, Entry, RowState
from mtbench.results.environments import copies, environment_file, read_copy
from mtbench.results.journal import REMEDY, read_journal
from mtbench.results.merge import row_label
from mtbench.results.schema import SCHEMA_VERSION, TABLES, check_table
from mtbench.results.tablefile import read_table
from mtbench.store.files import irregular, irregular_below
from mtbench.typed import MismatchError


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        problem: whether it is a problem; otherwise it is information.
        where: the file, with its line.
        text: the problem and its fix.
    """

    problem: bool
    where: str
    text: str


def verify(path: Path) -> list[Finding]:
    """Check a results directory; empty if there are no findings.

    Raises:
        RequestError: it is not a results directory.
        StoreError: its marker cannot be read.
    """
    results = Results.open(path)
    errors = {str(file): irregular(file) for file in irregular_below(path)}
    try:
        journals = results.journals()
    except StoreError as error:
        errors[str(error.where)] = error
    if errors:
        return [
            Finding(True, str(Path(where).relative_to(path)), f"{error.what}. {error.remedy}")
            for where, error in errors.items()
        ]
    lines = list(_lines(journals))
    findings = [finding for finding, _ in lines if finding is not None]
    entries = [entry for _, entry in lines if entry is not None]
    findings += _rows(entries)
    findings += _orphans(path, entries)
    findings += _copies(path)
    findings += _tables(results, entries)
    return findings


def _lines(journals: Iterable[Path]) -> Iterator[tuple[Finding | None, Entry | None]]:
    for file in journals:
        for line in read_journal(file):
            where = f"journal/{file.name}, line {line.number}"
            if line.torn:
                yield Finding(False, where, "an incomplete last line of a killed run; it is skipped"), None
            else:
                yield Finding(True, where, f"{line.fault}. {REMEDY}") if line.fault else None, line.entry


def _rows(entries: list[Entry]) -> Iterator[Finding]:
    for state in entries:
        if not isinstance(state, RowState):
            continue
        name = f"row '{row_label(state.columns)}'"
        if state.schema_version > SCHEMA_VERSION:
            text = f"a row has schema version {state.schema_version}, and this mtbench reads up to {SCHEMA_VERSION}"
            yield Finding(True, "journal", f"{text}. Upgrade mtbench")
        if state.status == "measured" and not state.scores:
            yield Finding(True, "journal", f"{name} is measured but has no score")
        if state.status == "measured" and None in state.values.values():
            yield Finding(True, "journal", f"{name} is measured but has no value")


def _stale(entries: list[Entry], scores: pa.Table) -> Iterator[Finding]:
    _, states, _ = last_states(entries)
    rows = scores.select(["row_id", "stale"]).to_pylist()
    for row, text in {row["row_id"]: row["stale"] for row in rows if row["stale"]}.items():
        name = row_label(states[row].columns) if row in states else row
        yield Finding(False, "journal", f"row '{name}' is stale: {text}")


def _orphans(path: Path, entries: list[Entry]) -> Iterator[Finding]:
    attempts, rows, _ = last_states(entries)
    keys = {attempt.unit_key for attempt in attempts if attempt.good}
    for state in rows.values():
        if state.status == "measured" and state.columns.get("unit_key") not in keys:
            text = f"row '{row_label(state.columns)}' has a value, but no attempt at its unit succeeded"
            yield Finding(True, "journal", f"{text}: a journal file is missing")
    there = {file.name for file in path.iterdir()}
    for name in sorted({attempt.environment_id for attempt in attempts} - {""}):
        if environment_file(name) not in there:
            yield Finding(True, environment_file(name), "attempts name this environment, but the file is missing")
    ends = {attempt.this for attempt in attempts}
    for entry in entries:
        if isinstance(entry, Begun) and entry.this not in ends:
            text = f"unit '{entry.name}' was started and has not ended: it is running, or the next run marks it as lost"
            yield Finding(False, "journal", text)
    for file in sorted(p.name for p in path.rglob(".tmp-*")):
        yield Finding(False, file, "an incomplete file of an active or killed run; the next run removes it")


def _copies(path: Path) -> Iterator[Finding]:
    for file in copies(path):
        try:
            read_copy(file)
        except StoreError as error:
            yield Finding(True, file.name, f"{error.what}. {error.remedy or ''}".strip())


def _tables(results: Results, entries: list[Entry]) -> Iterator[Finding]:
    views = view(entries)
    yield from _stale(entries, views["scores"])
    for name in TABLES:
        path = results.path / f"{name}.parquet"
        if not path.is_file():
            if entries:
                yield Finding(False, path.name, "the table is missing; it is rebuilt from the journal when it is read")
            continue
        try:
            table, state = read_table(path, results.size())
            if state == results.state():
                check_table(table, name)
        except (DamagedError, MismatchError, OSError) as error:
            text = f"the table is damaged ({str(error).splitlines()[0]}). Delete it; it is rebuilt from the journal"
            yield Finding(True, path.name, text)
            continue
        if state != results.state():
            yield Finding(False, path.name, "older than the journal; it is rebuilt when it is read")
        elif not _equal(table, views[name]):
            text = "the table differs from the journal: one of the two was altered. If no journal line is listed here,"
            yield Finding(True, path.name, f"{text} delete the table")


def _equal(a: pa.Table, b: pa.Table) -> bool:
    """Compares tables as they would be written, because Arrow treats NaN as unequal to itself."""
    return a.num_rows == b.num_rows and all(
        a[name].equals(b[name]) or str(a[name].to_pylist()) == str(b[name].to_pylist()) for name in b.column_names
    )
