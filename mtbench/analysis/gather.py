"""From score rows to one number for each (block, row, column): seeds and folds averaged, failures kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.cells import COUNTS, CellIndex, Number, average, counts, sentences, texts_by, validation
from mtbench.analysis.columns import ROLES
from mtbench.analysis.groups import codes, combine
from mtbench.errors import DataError
from mtbench.results.identity import BLOCK, COLUMN, DETAILS, ROW
from mtbench.results.schema import SCHEMA_VERSION, SCORES


@dataclass
class Averages:
    """Everything a table or a statistic needs.

    Attributes:
        blocks, rows, columns: their keys and attributes, in the order in which they first appear.
        numbers: the cells that have a value.
        reasons: (status, reason) of the failed and skipped runs of a cell.
        notes: sentences about a cell that has a value.
        counts: for (block, column), the smallest and largest number of images and patients behind it.
        row_notes: sentences about each translator's row.
        validation: for (block, protocol, segmenter), the distinct Dice by region of the segmenters on their
            validation slices.
        suites, sources: distinct values of those columns.
        runs: the ids of the score rows behind the number of a cell; only where they were asked for.
        cells_with_seeds: the cells whose runs have seeds; only where runs were asked for.
    """

    blocks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[CellIndex, Number] = field(default_factory=dict)
    reasons: dict[CellIndex, list[tuple[str, str]]] = field(default_factory=dict)
    notes: dict[CellIndex, list[str]] = field(default_factory=dict)
    counts: dict[tuple[int, int], dict[str, tuple[int, int]]] = field(default_factory=dict)
    row_notes: dict[int, list[str]] = field(default_factory=dict)
    validation: dict[tuple[int, str, str], list[dict[str, float]]] = field(default_factory=dict)
    suites: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    runs: dict[CellIndex, list[str]] = field(default_factory=dict)
    cells_with_seeds: set[CellIndex] = field(default_factory=set)


_COLUMNS = [
    *dict.fromkeys((*BLOCK, *ROW, *COLUMN, *COUNTS)),
    *("source_domain", "target_domain", "task_note", "conditional", "higher_is_better", "decimals", "mark"),
    *("translator_note", "segmenter_validation"),
    *("suite", "status", "fold", "seed", "value", "ci_low", "ci_high", "note", "row_id", "unit_key", "source"),
]


def normalise(scores: pa.Table) -> pa.Table:
    """The rows that belong in tables, missing text as "", checked against the schema.

    Raises:
        DataError: columns are missing, or rows are of another schema version.
    """
    missing = [name for name in SCORES.names if name not in scores.column_names]
    if missing:
        raise DataError(
            f"the scores table lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            remedy="It was written by another version of mtbench: run the suite again with this one",
        )
    versions = sorted(v for v in pc.unique(scores["schema_version"]).to_pylist() if v is not None)
    if versions not in ([], [SCHEMA_VERSION]):
        raise DataError(
            f"the scores table holds rows of schema version {' and '.join(map(str, versions))}",
            expected=f"rows of version {SCHEMA_VERSION}",
            remedy="Read it with the version of mtbench that wrote it, or run the suite again with this one into a new "
            "folder (--out): what is in the store is used again",
        )
    columns = [
        pc.fill_null(scores[name], "") if SCORES.field(name).type == pa.string() else scores[name] for name in _COLUMNS
    ]
    table = pa.table(columns, names=_COLUMNS)
    in_table = pc.is_in(table["role"], pa.array(list(ROLES)))
    return table if pc.all(in_table).as_py() else table.filter(in_table)


def gather(scores: pa.Table, *, runs: bool = False) -> Averages:
    """Average and sort all rows of a scores table.

    Args:
        scores: rows of ``mtbench.results.schema.SCORES``.
        runs: whether to keep the ids of the rows behind each number.

    Raises:
        DataError: see :func:`normalise`.
    """
    table = normalise(scores)
    if not table.num_rows:
        return Averages()
    block = _Axis(table, BLOCK, ("source_domain", "target_domain"))
    row = _Axis(table, ROW, ("conditional",))
    column = _Axis(table, COLUMN, ("higher_is_better", "decimals", "mark"))
    has_value = pc.and_(pc.is_in(table["status"], pa.array(["measured", "published"])), pc.is_valid(table["value"]))
    valid = np.asarray(has_value.to_numpy())
    _settle(block, valid, BLOCK, open_keys=BLOCK[1:])
    _settle(row, valid, ROW, open_keys=("translator_version",))
    for number, notes in texts_by(block.of, table["task_note"]).items():
        block.entries[number]["task_note"] = "; ".join(note.rstrip(".") for note in notes)
    places = (block.of, row.of, column.of)

    averages = Averages(block.entries, row.entries, column.entries)
    measures = table.select(["seed", "fold", "value", "ci_low", "ci_high"]).filter(has_value)
    averages.numbers = average(measures, *(axis[valid] for axis in places))
    averages.notes = sentences(table, "note", places, valid)
    skipped = np.asarray(pc.equal(table["status"], "skipped").to_numpy(zero_copy_only=False))
    for status, mask in (("failed", ~valid & ~skipped), ("skipped", ~valid & skipped)):
        for key, reasons in sentences(table, "note", places, mask, empty=f"{status}, no reason recorded").items():
            averages.reasons.setdefault(key, []).extend((status, reason) for reason in reasons)
    of_translators = valid & np.asarray(pc.equal(table["role"], "translator").to_numpy(zero_copy_only=False))
    averages.counts = counts(
        table.select(COUNTS).filter(pa.array(of_translators)), block.of[of_translators], column.of[of_translators]
    )
    averages.row_notes = texts_by(row.of, table["translator_note"])
    averages.validation = validation(table, block.of)
    averages.suites = [s for s in pc.unique(table["suite"]).to_pylist() if s]
    averages.sources = [s for s in pc.unique(table["source"]).to_pylist() if s]
    if runs:
        averages.runs = sentences(table, "row_id", places, valid)
        with_seed = valid & np.asarray(pc.is_valid(table["seed"]).to_numpy(zero_copy_only=False))
        averages.cells_with_seeds = set(sentences(table, "suite", places, with_seed, empty="-"))
    _seat_guests(averages)
    _count_missing_folds(averages)
    return averages


class _Axis:
    """One axis of the table: its distinct keys in order of appearance, and the number of each score row.

    An attribute is the first value that is not empty: a run that failed may not know it.
    """

    def __init__(self, table: pa.Table, keys: Sequence[str], attributes: Sequence[str]) -> None:
        self.of, first = combine([codes(table[name]) for name in keys])
        self.entries: list[dict[str, Any]] = table.select(list(keys)).take(pa.array(first)).to_pylist()
        for name in attributes:
            _, first = combine([self.of, codes(table[name])])
            for number, value in zip(
                self.of[first].tolist(), table[name].take(pa.array(first)).to_pylist(), strict=True
            ):
                if not self.entries[number].get(name):
                    self.entries[number][name] = value


def _settle(axis: _Axis, valid: NDArray[np.bool_], keys: Sequence[str], open_keys: Sequence[str]) -> None:
    """Give runs that failed before their data or their plugin's files were read the place of those that fit."""
    occupied = set(np.unique(axis.of[valid]).tolist())
    for number, entry in enumerate(axis.entries):
        if number not in occupied:
            hosts = [n for n in occupied if _fits(entry, axis.entries[n], keys, open_keys)]
            if len(hosts) == 1:
                axis.of[axis.of == number] = hosts[0]


def _fits(entry: Mapping[str, Any], host: Mapping[str, Any], keys: Sequence[str], open_keys: Sequence[str]) -> bool:
    """Whether ``entry`` equals ``host`` in ``keys``, where ``open_keys`` may be unknown to the entry."""
    return all(entry[k] == host[k] or (k in open_keys and entry[k] in ("", None)) for k in keys)


def _seat_guests(averages: Averages) -> None:
    """Move cells of columns that hold no translator's number into the columns of the same block that fit.

    A run that failed early does not know its labels or weights; a reference row has a protocol of its own.
    """
    hosts: dict[int, dict[int, None]] = {}
    for b, r, c in averages.numbers:
        if averages.rows[r]["role"] == "translator":
            hosts.setdefault(b, {})[c] = None
    guests: dict[tuple[int, int], list[CellIndex]] = {}
    for key in (*averages.numbers, *averages.reasons):
        if key[2] not in hosts.get(key[0], ()):
            guests.setdefault((key[0], key[2]), []).append(key)
    keys = [k for k in COLUMN if k not in ("title", "family")]
    for (b, c), members in guests.items():
        entry = dict(averages.columns[c])
        if all(averages.rows[r]["role"] != "translator" for _, r, _ in members):
            entry["protocol"] = ""
        has_value = any(key in averages.numbers for key in members)
        free = ("protocol",) if has_value else ("label", "caveat", "measure_unit", *DETAILS)
        seats = [h for h in hosts.get(b, ()) if _fits(entry, averages.columns[h], keys, free)]
        for key in dict.fromkeys(members) if seats else ():
            _move(averages, key, [(b, key[1], host) for host in seats])


def _move(averages: Averages, key: CellIndex, places: Sequence[CellIndex]) -> None:
    """Copy a cell to other places and take it away from its own; a number that is there already stays."""
    number, notes = averages.numbers.pop(key, None), averages.notes.pop(key, [])
    reasons = averages.reasons.pop(key, [])
    for place in places:
        if number is not None and place not in averages.numbers:
            averages.numbers[place] = number
            if notes:
                averages.notes[place] = notes
        if reasons:
            averages.reasons[place] = [*averages.reasons.get(place, ()), *reasons]


def _count_missing_folds(averages: Averages) -> None:
    """Mark numbers that lack runs others have: they are shown, but not ranked."""
    most: dict[tuple[int, int], int] = {}
    for (b, _, c), number in averages.numbers.items():
        most[b, c] = max(most.get((b, c), 0), number.folds)
    for key, number in averages.numbers.items():
        if key in averages.reasons or number.folds < most[key[0], key[2]]:
            averages.numbers[key] = replace(number, incomplete=True)
