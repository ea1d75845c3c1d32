"""From score rows to one value for each (block, row, column): seeds and folds averaged, failures kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.cells import COUNTS, CellIndex, Number, average, counts, texts_by
from mtbench.analysis.columns import ROLES
from mtbench.analysis.groups import combine
from mtbench.errors import DataError
from mtbench.results.identity import BLOCK, COLUMN, DETAILS, OF_DATA, ROW
from mtbench.results.schema import SCHEMA_VERSION, SCORES

ROWS = (*ROW, "currency")
"""Up-to-date and stale scores never share a row."""

CLAMPED = 0.001
"""The smallest share of clamped pixels that a row states."""


@dataclass
class Averages:
    """Everything that a table or a statistic needs.

    Attributes:
        blocks, rows, columns: their keys and attributes, in the order in which they first appear.
        numbers: the cells with a value.
        reasons: (status, reason) of the failed and skipped runs of a cell.
        notes: sentences about a cell with a value.
        without: why a value has no interval.
        counts: for (block, column), the smallest and largest number of images and patients behind it.
        floors: the same for floor rows, whose "translated" images are the target's training images.
        row_notes: sentences about each translator, by (row,).
        validation: for (block, column), the distinct Dice of translators' segmenters on their validation slices, as
            JSON by region; several if there are folds, or if each translator has its own segmenter.
        left_out: by block, the cases excluded during preparation.
        suites, sources: distinct values of those columns.
        runs: the ids of the score rows behind a cell; only if requested.
        of_data: the content behind the cells, by column of ``OF_DATA``; only if runs are requested.
        cells_with_seeds: the cells whose runs have seeds; only if runs are requested.
    """

    blocks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[CellIndex, Number] = field(default_factory=dict)
    reasons: dict[CellIndex, list[tuple[str, str]]] = field(default_factory=dict)
    notes: dict[CellIndex, list[str]] = field(default_factory=dict)
    without: dict[CellIndex, list[str]] = field(default_factory=dict)
    counts: dict[tuple[int, int], dict[str, tuple[int, int]]] = field(default_factory=dict)
    floors: dict[tuple[int, int], dict[str, tuple[int, int]]] = field(default_factory=dict)
    row_notes: dict[tuple[int, ...], list[str]] = field(default_factory=dict)
    validation: dict[tuple[int, ...], list[str]] = field(default_factory=dict)
    left_out: dict[int, list[str]] = field(default_factory=dict)
    suites: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    runs: dict[CellIndex, list[str]] = field(default_factory=dict)
    of_data: dict[str, dict[CellIndex, list[str]]] = field(default_factory=dict)
    cells_with_seeds: set[CellIndex] = field(default_factory=set)


_COLUMNS = [
    *dict.fromkeys((*BLOCK, *ROW, *COLUMN, *COUNTS)),
    *("source_domain", "target_domain", "task_note", "conditional", "higher_is_better", "decimals", "mark", "beside"),
    *("translator_note", "segmenter_validation", "stale", "left_out", "clamped"),
    *("suite", "status", "fold", "seed", "value", "ci_low", "ci_high", "note", "row_id", "unit_key", "source"),
    *("bound_low", "bound_high", "without_interval"),
]


def normalise(scores: pa.Table) -> pa.Table:
    """The rows that belong in tables, missing text as "", checked against the schema.

    Raises:
        DataError: columns are missing, or rows have another schema version.
    """
    missing = [name for name in SCORES.names if name not in scores.column_names]
    if missing:
        raise DataError(
            f"the scores table lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            remedy="Another version of mtbench wrote it; rerun the suite with this version",
        )
    versions = sorted(v for v in pc.unique(scores["schema_version"]).to_pylist() if v is not None)
    if versions not in ([], [SCHEMA_VERSION]):
        raise DataError(
            f"the scores table contains rows of schema version {' and '.join(map(str, versions))}",
            expected=f"rows of version {SCHEMA_VERSION}",
            remedy="Read it with the version of mtbench that wrote it, or rerun the suite with this version and a new "
            "--out; artefacts in the store are reused",
        )
    scores = final(scores)
    columns = [
        pc.fill_null(scores[name], "") if SCORES.field(name).type == pa.string() else scores[name] for name in _COLUMNS
    ]
    table = pa.table(columns, names=_COLUMNS)
    currency = pc.if_else(pc.equal(table["stale"], ""), "", "stale")
    table = table.append_column("currency", currency)
    translated = pc.equal(table["role"], "translator")
    for name in OF_DATA:
        table = table.append_column(f"{name} of all", table[name])
        keys = (*BLOCK, *ROW) if name in ROW else (*BLOCK, *COLUMN)
        known = pc.not_equal(table[name], "")
        among = known if name in ROW else pc.and_(known, translated)
        table = _where_it_differs(table, name, [key for key in keys if key not in OF_DATA], among)
    in_table = pc.is_in(table["role"], pa.array(list(ROLES)))
    return table if pc.all(in_table).as_py() else table.filter(in_table)


def final(scores: pa.Table) -> pa.Table:
    """The rows of final checkpoints on test patients; ``mtbench checkpoints`` reads the others."""
    mask = are_final(scores)
    return scores if pc.all(mask).as_py() else scores.filter(mask)


def are_final(scores: pa.Table) -> pa.ChunkedArray:
    """For each row, whether it is of a final checkpoint on test patients."""
    return pc.and_(*(pc.equal(pc.fill_null(scores[name], ""), "") for name in ("checkpoint", "scored_on")))


def _where_it_differs(table: pa.Table, name: str, keys: Sequence[str], among: pa.ChunkedArray) -> pa.Table:
    """The table with column ``name`` empty if ``among`` the rows with the same ``keys`` it has only one value."""
    group, first = combine([table[key] for key in keys])
    value, _ = combine([table[name]])
    mask = np.asarray(among.to_numpy(zero_copy_only=False))
    pairs = np.unique(np.stack([group[mask], value[mask]]), axis=1)[0] if mask.any() else np.zeros(0, np.int64)
    several = np.bincount(pairs, minlength=len(first))[group] > 1
    column = pc.if_else(pa.array(several), table[name], "")
    return table.set_column(table.column_names.index(name), name, column)


def current(scores: pa.Table) -> tuple[pa.Table, str]:
    """The rows that are not stale, and a sentence on the stale ones; empty if there are none."""
    stale = pc.not_equal(pc.fill_null(scores["stale"], ""), "") if "stale" in scores.column_names else None
    count = pc.sum(stale).as_py() if stale is not None else 0
    if not count:
        return scores, ""
    one = "1 stale score is" if count == 1 else f"{count} stale scores are"
    texts = pc.unique(scores["stale"].filter(stale)).to_pylist()
    return scores.filter(pc.invert(stale)), f"{one} excluded: {'; '.join(texts)}"


def gather(scores: pa.Table, *, runs: bool = False) -> Averages:
    """Average and sort all rows of a scores table.

    Args:
        scores: rows of ``mtbench.results.schema.SCORES``.
        runs: whether to keep the ids of the rows behind each value.

    Raises:
        DataError: see :func:`normalise`.
    """
    table = normalise(scores)
    if not table.num_rows:
        return Averages()
    has_value = pc.and_(pc.is_in(table["status"], pa.array(["measured", "published"])), pc.is_valid(table["value"]))
    valid = np.asarray(has_value.to_numpy())
    block, blocks = _axis(table, BLOCK, ("source_domain", "target_domain"), valid, open_keys=BLOCK[1:])
    open_keys = ("translator_version", "training_sha256")
    row, rows = _axis(table, ROWS, ("conditional",), valid, open_keys=open_keys)
    column, columns = _axis(table, COLUMN, ("higher_is_better", "decimals", "mark", "beside"), valid, open_keys=())
    for (number,), notes in texts_by([block], table["task_note"]).items():
        blocks[number]["task_note"] = "; ".join(note.rstrip(".") for note in notes)
    places = (block, row, column)

    averages = Averages(blocks, rows, columns)
    measures = table.select(["seed", "fold", "value", "ci_low", "ci_high", "bound_low", "bound_high"]).filter(has_value)
    averages.numbers = average(measures, *(axis[valid] for axis in places))
    averages.notes = texts_by(places, table["note"], valid)
    averages.without = texts_by(places, table["without_interval"], valid)
    skipped = np.asarray(pc.equal(table["status"], "skipped").to_numpy(zero_copy_only=False))
    for status, mask in (("failed", ~valid & ~skipped), ("skipped", ~valid & skipped)):
        for key, reasons in texts_by(places, table["note"], mask, f"{status}, no reason recorded").items():
            averages.reasons.setdefault(key, []).extend((status, reason) for reason in reasons)
    translated = np.asarray(pc.equal(table["role"], "translator").to_numpy(zero_copy_only=False))
    counted = valid & translated
    averages.counts = counts(table.select(COUNTS).filter(pa.array(counted)), block[counted], column[counted])
    of_floors = valid & np.asarray(pc.equal(table["role"], "floor").to_numpy(zero_copy_only=False))
    averages.floors = counts(table.select(COUNTS).filter(pa.array(of_floors)), block[of_floors], column[of_floors])
    averages.row_notes = texts_by([row], table["translator_note"])
    share = np.asarray(pc.fill_null(table["clamped"], 0.0).to_numpy(), dtype=np.float64)
    for r in np.unique(row[share > CLAMPED]).tolist():
        text = f"Up to {100 * share[row == r].max():.1f} % of its pixels were outside [0, 1] and clamped"
        averages.row_notes.setdefault((r,), []).append(text)
    averages.left_out = {b: texts for (b,), texts in texts_by([block], table["left_out"]).items()}
    for key, texts in texts_by([row], table["stale"]).items():
        averages.row_notes.setdefault(key, []).extend(f"Stale, not ranked: {text}" for text in texts)
    averages.validation = texts_by([block, column], table["segmenter_validation"], translated)
    averages.suites = [s for s in pc.unique(table["suite"]).to_pylist() if s]
    averages.sources = [s for s in pc.unique(table["source"]).to_pylist() if s]
    if runs:
        averages.runs = texts_by(places, table["row_id"], valid)
        averages.of_data = {name: texts_by(places, table[f"{name} of all"], valid) for name in OF_DATA}
        with_seed = valid & np.asarray(pc.is_valid(table["seed"]).to_numpy(zero_copy_only=False))
        averages.cells_with_seeds = set(texts_by(places, table["suite"], with_seed, "-"))
    _seat_guests(averages)
    most: dict[tuple[int, int], int] = {}
    for (b, _, c), cell in averages.numbers.items():
        most[b, c] = max(most.get((b, c), 0), cell.folds)
    for key, cell in averages.numbers.items():
        if key in averages.reasons or cell.folds < most[key[0], key[2]]:
            # A cell without runs that others have is shown, but not ranked.
            averages.numbers[key] = replace(cell, incomplete=True)
    return averages


def _axis(
    table: pa.Table, keys: Sequence[str], attributes: Sequence[str], valid: NDArray[np.bool_], open_keys: Sequence[str]
) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """One axis of the table: the index of each score row, and the distinct keys in order of appearance.

    An attribute is the first value that is not empty, because a failed run may not know it. Runs that failed before
    their data or their plugin's files were read get the place of matching rows; their ``open_keys`` may be unknown.
    """
    of, first = combine([table[name] for name in keys])
    entries: list[dict[str, Any]] = table.select(list(keys)).take(pa.array(first)).to_pylist()
    for name in attributes:
        _, first = combine([of, table[name]])
        for number, value in zip(of[first].tolist(), table[name].take(pa.array(first)).to_pylist(), strict=True):
            if not entries[number].get(name):
                entries[number][name] = value
    occupied = set(np.unique(of[valid]).tolist())
    for number, entry in enumerate(entries if open_keys else ()):
        if number not in occupied:
            hosts = [n for n in occupied if _fits(entry, entries[n], keys, open_keys)]
            if len(hosts) == 1:
                of[of == number] = hosts[0]
    return of, entries


def _fits(entry: Mapping[str, Any], host: Mapping[str, Any], keys: Sequence[str], open_keys: Sequence[str]) -> bool:
    """Whether ``entry`` equals ``host`` in ``keys``; ``open_keys`` may be unknown to the entry."""
    return all(entry[k] == host[k] or (k in open_keys and entry[k] in ("", None)) for k in keys)


def _seat_guests(averages: Averages) -> None:
    """Move cells of columns without a translator's score to the matching columns of the same block.

    A run that failed early does not know its labels or weights; a reference row has its own protocol.
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
            entry |= {"protocol": "", "segmenter_training_sha256": ""}
        has_value = any(key in averages.numbers for key in members)
        free = ("protocol", "segmenter_training_sha256") if has_value else ("label", "caveat", "measure_unit", *DETAILS)
        seats = [h for h in hosts.get(b, ()) if _fits(entry, averages.columns[h], keys, free)]
        for key in dict.fromkeys(members) if seats else ():
            _move(averages, key, [(b, key[1], host) for host in seats])


def _move(averages: Averages, key: CellIndex, places: Sequence[CellIndex]) -> None:
    """Move a cell to other places; existing values there stay."""
    number = averages.numbers.pop(key, None)
    notes, without = averages.notes.pop(key, []), averages.without.pop(key, [])
    reasons = averages.reasons.pop(key, [])
    for place in places:
        if number is not None and place not in averages.numbers:
            averages.numbers[place] = number
            if notes:
                averages.notes[place] = notes
            if without:
                averages.without[place] = without
        if reasons:
            averages.reasons[place] = [*averages.reasons.get(place, ()), *reasons]
