"""Is a results directory whole? Every line, every table, and each against the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mtbench.errors import DamagedError, StoreError
from mtbench.results.directory import Results, last_states, view
from mtbench.results.journal import read_journal
from mtbench.results.merge import row_label
from mtbench.results.schema import ATTEMPTS, SCHEMA_VERSION, SCORES, TABLES
from mtbench.results.tablefile import read_table
from mtbench.store.files import irregular, irregular_below


@dataclass(frozen=True)
class Finding:
    """Something that a check found.

    Attributes:
        problem: whether something is wrong; otherwise it is only worth knowing.
        where: the file, with its line.
        text: what it is, and what to do about it.
    """

    problem: bool
    where: str
    text: str


def verify(path: Path) -> list[Finding]:
    """Check a results directory; empty where there is nothing to say.

    Raises:
        RequestError: it is no results directory.
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
    records = [record for _, record in lines if record is not None]
    findings += _rows(records)
    findings += _orphans(path, records)
    findings += _tables(results, records)
    return findings


def _lines(journals: Iterable[Path]) -> Iterator[tuple[Finding | None, dict[str, Any] | None]]:
    for file in journals:
        for line in read_journal(file):
            where = f"journal/{file.name}, line {line.number}"
            if line.torn:
                yield Finding(False, where, "a torn last line, the mark of a run that was killed; it is left out"), None
            else:
                yield Finding(True, where, line.fault) if line.fault else None, line.record or None


def _rows(records: list[dict[str, Any]]) -> Iterator[Finding]:
    columns = {"attempt": set(ATTEMPTS.names), "row": set(SCORES.names)}
    for record in records:
        kind = record["type"]
        if record.get("schema_version", 0) > SCHEMA_VERSION:
            text = f"a {kind} of schema version {record['schema_version']}; this version of mtbench knows up to "
            yield Finding(True, "journal", f"{text}{SCHEMA_VERSION}. Upgrade it")
        elif kind == "attempt":
            gaps = {"unit_key", "stage", "name", "attempt", "status"} - record.keys()
            if gaps:
                yield Finding(True, "journal", f"half a try: it lacks {', '.join(sorted(gaps))}")
        elif kind == "row":
            gaps = {"row", "status", "columns", "scores", "cases"} - record.keys()
            if gaps:
                yield Finding(True, "journal", f"half a row: it lacks {', '.join(sorted(gaps))}")
                continue
            unknown = {*record["columns"], *(name for score in record["scores"] for name in score)} - columns[kind]
            if unknown:
                yield Finding(True, "journal", f"a row has unknown columns: {', '.join(sorted(unknown))}")
            yield from _half(record)


def _half(record: Mapping[str, Any]) -> Iterator[Finding]:
    name = f"row '{row_label(record['columns'])}'"
    if record["status"] == "measured" and not record["scores"]:
        yield Finding(True, "journal", f"{name} is measured and has no score")
    for score in record["scores"] if record["status"] == "measured" else ():
        if score.get("value") is None:
            yield Finding(True, "journal", f"{name} is measured and has no value")
    for group in record["cases"]:
        if len({len(group[side]) for side in ("case", "patient", "value")}) > 1:
            yield Finding(True, "journal", f"{name} has cases without a patient or a value")


def _stale(records: list[dict[str, Any]], scores: pa.Table) -> Iterator[Finding]:
    _, states, _ = last_states(records)
    rows = scores.select(["row_id", "stale"]).to_pylist()
    for row, text in {row["row_id"]: row["stale"] for row in rows if row["stale"]}.items():
        yield Finding(False, "journal", f"row '{row_label(states[row]['columns'])}' is stale: {text}")


def _orphans(path: Path, records: list[dict[str, Any]]) -> Iterator[Finding]:
    try:
        attempts, rows, _ = last_states(records)
    except KeyError:  # Half a row, reported already.
        return
    keys = {a.get("unit_key") for a in attempts if a.get("status") in ("ok", "cached")}
    for row in rows.values():
        if row.get("status") == "measured" and row["columns"].get("unit_key") not in keys:
            text = f"row '{row_label(row['columns'])}' has a value, and no try of its unit succeeded"
            yield Finding(True, "journal", f"{text}: a journal file is missing")
    for name in sorted({a.get("environment_id", "") for a in attempts} - {""}):
        file = f"environment-{name}.json"
        if not (path / file).is_file():
            yield Finding(True, file, "tries name this environment, and the file is missing")
    ends = {(r.get("run"), r["unit_key"], r["attempt"]) for r in records if r["type"] == "attempt" and "attempt" in r}
    for record in records:
        if record["type"] == "started" and (record.get("run"), record["unit_key"], record["attempt"]) not in ends:
            text = f"unit '{record['name']}' was begun and has not ended: it is at work, or the next run calls it lost"
            yield Finding(False, "journal", text)
    for file in sorted(p.name for p in path.rglob(".tmp-*")):
        yield Finding(
            False, file, "a half-written file of a run that is at work or was killed; the next run removes it"
        )


def _tables(results: Results, records: list[dict[str, Any]]) -> Iterator[Finding]:
    try:
        views = view(records)
    except StoreError as error:
        yield Finding(True, "journal", error.what)
        return
    yield from _stale(records, views["scores"])
    for name, schema in TABLES.items():
        path = results.path / f"{name}.parquet"
        if not path.is_file():
            if records:
                yield Finding(False, path.name, "the table is missing; it is made from the journal when it is read")
            continue
        try:
            table, state = read_table(path)
        except (DamagedError, OSError) as error:
            text = f"the table is damaged ({str(error).splitlines()[0]}). Delete it: it is made anew from the journal"
            yield Finding(True, path.name, text)
            continue
        if state != results.state():
            yield Finding(False, path.name, "older than the journal; it is made anew when it is read")
        elif not table.schema.equals(schema):
            lacking = [n for n in schema.names if n not in table.column_names]
            text = f"the table's columns are not those of this version (lacking: {', '.join(lacking) or 'none'})"
            yield Finding(True, path.name, f"{text}. Delete it: it is made anew from the journal")
        elif not _equal(table, views[name]):
            text = "the table says something else than the journal: one of the two was altered. Delete the table if"
            yield Finding(True, path.name, f"{text} no journal line is named here")


def _equal(a: pa.Table, b: pa.Table) -> bool:
    """Arrow holds NaN unequal to itself, so tables are compared as they would be written."""
    return a.num_rows == b.num_rows and all(
        a[name].equals(b[name]) or str(a[name].to_pylist()) == str(b[name].to_pylist()) for name in b.column_names
    )
