"""Merges results directories: no score is dropped, and conflicts are reported."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

from mtbench.errors import DataError, RequestError
from mtbench.hashing import canonical, hash_of
from mtbench.paths import check_folder
from mtbench.results import bibliography
from mtbench.results.directory import MARKER, Results, last_states
from mtbench.results.entries import Entry, Order, Resolved, RowState, plain
from mtbench.results.environments import Provenance, copies, provenance_of, read_copy
from mtbench.results.identity import IDENTITY
from mtbench.results.journal import journal_line
from mtbench.store.files import TEMPORARY, sweep, whole_folder, write_whole

RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""The largest difference between two scores of the same stored images (other device or library) that count as equal."""


@dataclass(frozen=True)
class Conflict:
    """A row whose scores in two directories differ by more than rounding, on the same inputs.

    Attributes:
        row: its printed name.
        values: of each side, by region.
        provenances: the environment of each side.
    """

    row: str
    values: tuple[Mapping[str, float | None], Mapping[str, float | None]]
    provenances: tuple[Provenance, Provenance]


@dataclass
class Tally:
    """The counts of a merge.

    Attributes:
        rows: rows of the merged directory.
        same: duplicates that agree.
        replicates: rows kept as replicates: computed from another fit or other images of the same request.
        apart: rows kept separate: computed by another version of a plugin or from other files.
        superseded: failed and skipped rows for which another directory has a score.
        conflicts: rows with the same inputs that differ; all their scores were kept.
    """

    rows: int = 0
    same: int = 0
    replicates: int = 0
    apart: int = 0
    superseded: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


class _Source:
    """One directory to merge: its journal, the last states of its rows, and the content of its data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = list(Results.open(path).entries())
        self.attempts, self.rows, self.order = last_states(self.entries)
        self.data = {a.unit_key: (a.name, a.digest) for a in self.attempts if a.stage == "prepare" and a.good}
        self.copies = {file.name: read_copy(file) for file in copies(path)}


def merge(folders: Sequence[Path], out: Path) -> Tally:
    """Merge results directories into a new one.

    If several directories have a row, scores that are equal within rounding on the same inputs are kept once. Different
    scores on the same inputs are a conflict: all are kept, each with a note. Another fit of the same request, or other
    images of the same fit, is a replicate: it is kept as another row and averaged in tables. Rows of another version of
    a plugin, or of other files, are kept as separate rows of the tables.

    Args:
        folders: two or more results directories; they are only read.
        out: a folder that does not exist yet or is empty; it appears when it is complete.

    Raises:
        RequestError: fewer than two directories, or ``out`` exists and is not empty.
        DataError: the directories have different data under the same name and revision.
        StoreError: a directory is damaged, or contains links, pipes or devices.
    """
    if len({folder.resolve() for folder in folders}) < 2:
        raise RequestError("nothing to merge", expected="two or more different results directories")
    _refuse_taken(out)
    sources = [_Source(folder) for folder in folders]
    _refuse_other_data(sources)
    suites = dict.fromkeys(a.suite for source in sources for a in source.attempts)
    tally = Tally()
    lines = [journal_line(plain(entry)) for entry in _merged_entries(sources, tally)]
    place = out.resolve()
    sweep(place.parent.glob(f"{TEMPORARY}*"))
    # A merge that is killed must not leave a folder that looks like results.
    with whole_folder(place, partial(_refuse_taken, out)) as folder:
        results = Results.create(folder, ", ".join(suites))
        for name, content in {name: text for source in sources for name, text in source.copies.items()}.items():
            write_whole(folder / name, methodcaller("write", content))
        if works := [work for source in sources for work in bibliography.cited(source.path)]:
            bibliography.write(folder, works)
        write_whole(folder / "journal" / "merged.jsonl", lambda file: file.writelines(line.encode() for line in lines))
        results.rebuild()
    return tally


def _refuse_taken(out: Path) -> None:
    if (out / MARKER).exists():
        raise RequestError(
            f"{out} already contains results",
            expected="a new folder",
            remedy="Merge it with the others into another one",
        )
    try:
        check_folder(out)
        if os.path.ismount(out) or (out.exists() and any(out.iterdir())):
            raise RequestError(f"{out} is not empty", expected="a new or empty folder")
    except RequestError as error:
        raise RequestError(error.what, expected="a new folder", remedy="Choose another with --out") from error


def _refuse_other_data(sources: Sequence[_Source]) -> None:
    """Scores on different data must not share a column, and their columns would not distinguish them."""
    digests: dict[str, tuple[str, Path]] = {}
    for source in sources:
        for key, (name, digest) in source.data.items():
            first, where = digests.setdefault(key, (digest, source.path))
            if digest != first:
                raise DataError(
                    f"the data of '{name}' differ from those in {where}, under the same name, revision and parameters",
                    where=str(source.path),
                    expected="results on the same data",
                    remedy="Give the changed data set a new name or revision, or use `mtbench compare`",
                )


def _merged_entries(sources: Sequence[_Source], tally: Tally) -> Iterator[Entry]:
    texts: set[str] = set()
    for source in sources:
        for entry in source.entries:
            if not isinstance(entry, RowState | Order | Resolved):
                text = canonical(plain(entry))
                if text not in texts:
                    texts.add(text)
                    yield entry
    places: dict[str, list[tuple[_Source, RowState]]] = {}
    for source in sources:
        for row in sorted(source.rows, key=lambda row: source.order.get(row, len(source.order))):
            state = source.rows[row]
            # A replicate of an earlier merge belongs to its original row.
            places.setdefault(state.of or row, []).append((source, state))
    order: list[str] = []
    for row, states in places.items():
        for last_state in _states(row, states, tally):
            order.append(last_state.row)
            # Without a last run nothing is stale; rows of other data or code are kept separate.
            yield replace(last_state, made_from={})
    tally.rows = len(order)
    yield Order(rows=order)


def _states(row: str, states: Sequence[tuple[_Source, RowState]], tally: Tally) -> Iterator[RowState]:
    """The states of one row to keep; the first keeps the row's id, the others get new ids."""
    measurements = [(source, state) for source, state in states if state.status == "measured"]
    if not measurements:
        tally.same += len(states) - 1
        yield max((state for _, state in states), key=lambda state: state.at)
        return
    tally.superseded += len(states) - len(measurements)
    rows: list[tuple[_Source, RowState]] = []
    for source, candidate in measurements:
        alike = [place for place, (_, state) in enumerate(rows) if _request(state) == _request(candidate)]
        same = [place for place in alike if _cell(rows[place][1], "input_digest") == _cell(candidate, "input_digest")]
        agreeing = [rows[place][1] for place in same if _agree(rows[place][1].values, candidate.values)]
        if any(_cell(state, "fit_digest") == _cell(candidate, "fit_digest") for state in agreeing):
            tally.same += 1
            continue
        # Rows that one directory already holds side by side are not counted.
        same_source = any(s is source for s, _ in rows)
        if same and not agreeing and not same_source:
            other, first = rows[same[0]]
            origins = (_provenance(other, first), _provenance(source, candidate))
            both = (first.values, candidate.values)
            tally.conflicts.append(Conflict(row_label(candidate.columns), both, origins))
            rows[same[0]] = other, _noted(first, *both)
            candidate = _noted(candidate, *both)
        elif alike and not same_source:
            tally.replicates += 1
        elif rows and not same_source:
            tally.apart += 1
        if rows:
            digests = [_cell(candidate, "input_digest"), _cell(candidate, "fit_digest")]
            candidate = replace(candidate, row=hash_of([row, *digests, len(rows)]), of=row)
        rows.append((source, candidate))
    yield from (state for _, state in rows)


def row_label(columns: Mapping[str, Any]) -> str:
    """The printed name of a row."""
    parts = [columns.get("dataset"), columns.get("translator") or columns.get("role"), columns.get("metric")]
    numbers = [f"{name} {columns[name]}" for name in ("fold", "seed") if columns.get(name) is not None]
    return ", ".join(str(part) for part in (*parts, *numbers) if part)


def _cell(state: RowState, column: str) -> str:
    return state.columns.get(column) or ""


def _request(state: RowState) -> list[object]:
    """All columns by which tables distinguish scores."""
    cells = {**state.columns, **(state.scores[0] if state.scores else {})}
    return [cells.get(name) for name in IDENTITY]


def _agree(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> bool:
    return a.keys() == b.keys() and all(_close(a[label], b[label]) for label in a)


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _noted(state: RowState, *both: Mapping[str, float | None]) -> RowState:
    """The state with a note about the conflict on every score."""
    scores = [dict(score) for score in state.scores]
    for score in scores:
        numbers = " and ".join(str(side.get(score.get("label") or "")) for side in both)
        text = f"Conflict: merged results differ on the same inputs ({numbers}); this is their mean"
        note = score.get("note") or ""
        if text not in note:
            score["note"] = "; ".join(filter(None, (note, text)))
    return replace(state, scores=scores)


def _provenance(source: _Source, state: RowState) -> Provenance:
    attempts = [a for a in source.attempts if a.unit_key == _cell(state, "unit_key")]
    return provenance_of(source.path, attempts)
