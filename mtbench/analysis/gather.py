"""From score rows to one number for each (block, row, column): seeds and folds averaged, failures kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.columns import BLOCK, COLUMN, DETAILS, ROLES, ROW
from mtbench.analysis.groups import codes, combine, mean_by
from mtbench.errors import DataError
from mtbench.store.schema import SCHEMA_VERSION, SCORES

Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Number:
    """The value of one cell.

    Attributes:
        value: mean over folds, then over seeds.
        std: standard deviation over seeds (n - 1); ``None`` with one seed.
        low, high: confidence interval over patients; ``None`` where a part has none.
        seeds, folds: how many were averaged.
        incomplete: some of its runs failed, or folds that others have are missing.
    """

    value: float
    std: float | None
    low: float | None
    high: float | None
    seeds: int
    folds: int
    incomplete: bool


@dataclass
class Gathered:
    """Everything a table or a statistic needs.

    Attributes:
        blocks, rows, columns: their keys and attributes, in the order in which they first appear.
        numbers: the cells that have a value.
        reasons: (status, reason) of the failed and skipped runs of a cell.
        notes: sentences about a cell that has a value.
        counts: for (block, column), the smallest and largest number of images and patients behind its numbers.
        suites, sources: distinct values of those columns.
    """

    blocks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[Key, Number] = field(default_factory=dict)
    reasons: dict[Key, list[tuple[str, str]]] = field(default_factory=dict)
    notes: dict[Key, list[str]] = field(default_factory=dict)
    counts: dict[tuple[int, int], dict[str, tuple[int, int]]] = field(default_factory=dict)
    suites: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


COUNTS = ("n", "n_translated", "n_target", "n_patients_translated", "n_patients_target")


def normalise(scores: pa.Table) -> pa.Table:
    """The rows that belong in tables, missing text as "", checked against the schema.

    Raises:
        DataError: columns are missing, or rows of several or of a newer schema version are mixed.
    """
    lacking = [name for name in SCORES.names if name not in scores.column_names]
    if lacking:
        raise DataError(
            f"the scores table lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}",
            remedy="It was written by another version of mtbench: run the suite again with this one",
        )
    versions = sorted(v for v in pc.unique(scores["schema_version"]).to_pylist() if v is not None)
    if len(versions) > 1 or any(v > SCHEMA_VERSION for v in versions):
        raise DataError(
            f"the scores table holds rows of schema version {' and '.join(map(str, versions))}",
            expected=f"rows of one version, at most {SCHEMA_VERSION}",
            remedy="Run the suite again with this version of mtbench, or upgrade it",
        )
    columns = [
        pc.fill_null(scores[name], "") if SCORES.field(name).type == pa.string() else scores[name]
        for name in SCORES.names
    ]
    table = pa.table(columns, names=SCORES.names)
    return table.filter(pc.is_in(table["role"], pa.array(list(ROLES))))


def gather(scores: pa.Table) -> Gathered:
    """Average and sort all rows of a scores table.

    Raises:
        DataError: see :func:`normalise`.
    """
    table = normalise(scores)
    if not table.num_rows:
        return Gathered()
    block = _Axis(table, BLOCK, ("source_domain", "target_domain", "task_note"))
    row = _Axis(table, ROW, ("conditional",))
    column = _Axis(table, COLUMN, ("higher_is_better", "decimals", "mark"))
    valued = pc.and_(
        pc.is_in(table["status"], pa.array(["measured", "published"])), pc.is_valid(table["value"])
    )
    good = np.asarray(valued.to_numpy())
    _settle_blocks(block, good)
    places = (block.of, row.of, column.of)

    found = Gathered(block.entries, row.entries, column.entries)
    found.numbers = _average(table.filter(valued), *(axis[good] for axis in places))
    found.notes = _sentences(table, "note", places, good)
    for status in ("failed", "skipped"):
        mask = ~good & np.asarray(pc.equal(table["status"], status).to_numpy(zero_copy_only=False))
        for key, reasons in _sentences(
            table, "note", places, mask, empty=f"{status}, no reason recorded"
        ).items():
            found.reasons.setdefault(key, []).extend((status, reason) for reason in reasons)
    translated = good & np.asarray(pc.equal(table["role"], "translator").to_numpy(zero_copy_only=False))
    found.counts = _count(table.filter(pa.array(translated)), block.of[translated], column.of[translated])
    found.suites = [s for s in pc.unique(table["suite"]).to_pylist() if s]
    found.sources = [s for s in pc.unique(table["source"]).to_pylist() if s]
    _seat_guests(found)
    _count_missing_folds(found)
    return found


class _Axis:
    """One axis of the table: its distinct keys in order of appearance, and the number of each score row's key.

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


def _settle_blocks(block: _Axis, good: NDArray[np.bool_]) -> None:
    """Give runs that failed before their data was known the block of the same dataset that fits."""
    settled = set(np.unique(block.of[good]).tolist())
    for number, entry in enumerate(block.entries):
        if number not in settled:
            hosts = [n for n in settled if _fits(entry, block.entries[n], BLOCK, open_keys=BLOCK[1:])]
            if len(hosts) == 1:
                block.of[block.of == number] = hosts[0]


def _fits(
    entry: Mapping[str, Any], host: Mapping[str, Any], keys: Sequence[str], open_keys: Sequence[str]
) -> bool:
    """Whether ``entry`` equals ``host`` in ``keys``, where ``open_keys`` may be unknown to the entry."""
    return all(entry[k] == host[k] or (k in open_keys and entry[k] in ("", None)) for k in keys)


def _average(
    table: pa.Table, b: NDArray[np.int64], r: NDArray[np.int64], c: NDArray[np.int64]
) -> dict[Key, Number]:
    if not table.num_rows:
        return {}
    cell, cell_first = combine([b, r, c])
    seed, fold = codes(table["seed"]), codes(table["fold"])
    run, run_first = combine([cell, fold, seed])
    runs = len(run_first)

    def of_runs(name: str) -> NDArray[np.float64]:
        column = pc.fill_null(table[name], float("nan"))
        return mean_by(run, np.asarray(column.to_numpy(), dtype=np.float64), runs)

    value = of_runs("value")
    # A run of a seed on a fold counts once, however many times it was repeated.
    by_seed, seed_first = combine([cell[run_first], seed[run_first]])
    cell_of_seed = cell[run_first][seed_first]
    by_fold, fold_first = combine([cell[run_first], fold[run_first]])
    cell_of_run = cell[run_first]
    count = len(cell_first)
    folds = np.bincount(cell_of_run[fold_first], minlength=count)
    seeds = np.bincount(cell_of_seed, minlength=count)
    seed_means = mean_by(by_seed, value, len(seed_first))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = mean_by(cell_of_seed, seed_means, count)
        squares = np.bincount(cell_of_seed, weights=(seed_means - mean[cell_of_seed]) ** 2, minlength=count)
        std = np.sqrt(squares / (seeds - 1))
        # Seeds share their patients, so their half-widths are averaged; folds hold different patients, so theirs
        # add in quadrature.
        half = {}
        for name, sign in (("ci_low", -1.0), ("ci_high", 1.0)):
            widths = mean_by(by_fold, sign * (of_runs(name) - value), len(fold_first))
            total = np.bincount(cell_of_run[fold_first], weights=widths**2, minlength=count)
            half[name] = np.sqrt(total) / folds
        low, high = mean - half["ci_low"], mean + half["ci_high"]
    keys = zip(b[cell_first].tolist(), r[cell_first].tolist(), c[cell_first].tolist(), strict=True)
    columns = (mean.tolist(), std.tolist(), low.tolist(), high.tolist(), seeds.tolist(), folds.tolist())
    return {
        key: Number(m, s if n > 1 else None, lo if lo == lo else None, hi if hi == hi else None, n, f, False)
        for key, m, s, lo, hi, n, f in zip(keys, *columns, strict=True)
    }


def _sentences(
    table: pa.Table,
    name: str,
    places: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    mask: NDArray[np.bool_],
    empty: str = "",
) -> dict[Key, list[str]]:
    """The distinct texts of a column in each cell, in order; ``empty`` stands for missing ones."""
    if not mask.any():
        return {}
    b, r, c = (axis[mask] for axis in places)
    texts = table[name].filter(pa.array(mask))
    _, first = combine([b, r, c, codes(texts)])
    found: dict[Key, list[str]] = {}
    for i, text in zip(first.tolist(), texts.take(pa.array(first)).to_pylist(), strict=True):
        if text or empty:
            found.setdefault((int(b[i]), int(r[i]), int(c[i])), []).append(text or empty)
    return found


def _count(
    table: pa.Table, b: NDArray[np.int64], c: NDArray[np.int64]
) -> dict[tuple[int, int], dict[str, tuple[int, int]]]:
    if not table.num_rows:
        return {}
    place, first = combine([b, c])
    keys = list(zip(b[first].tolist(), c[first].tolist(), strict=True))
    found: dict[tuple[int, int], dict[str, tuple[int, int]]] = {key: {} for key in keys}
    for name in COUNTS:
        known = np.asarray(pc.is_valid(table[name]).to_numpy(zero_copy_only=False))
        values = np.asarray(pc.fill_null(table[name], 0).to_numpy(), dtype=np.int64)[known]
        low, high = np.full(len(keys), 2**62), np.full(len(keys), -1)
        np.minimum.at(low, place[known], values)
        np.maximum.at(high, place[known], values)
        for key, smallest, largest in zip(keys, low.tolist(), high.tolist(), strict=True):
            if largest >= 0:
                found[key][name] = (smallest, largest)
    return found


def _seat_guests(found: Gathered) -> None:
    """Move cells of columns that hold no translator's number into the columns of the same block that fit.

    A run that failed early does not know its labels or weights; a reference row has a protocol of its own.
    """
    hosts: dict[int, dict[int, None]] = {}
    for b, r, c in found.numbers:
        if found.rows[r]["role"] == "translator":
            hosts.setdefault(b, {})[c] = None
    guests: dict[tuple[int, int], list[Key]] = {}
    for key in (*found.numbers, *found.reasons):
        if key[2] not in hosts.get(key[0], ()):
            guests.setdefault((key[0], key[2]), []).append(key)
    keys = [k for k in COLUMN if k not in ("title", "family")]
    for (b, c), members in guests.items():
        entry = dict(found.columns[c])
        if all(found.rows[r]["role"] != "translator" for _, r, _ in members):
            entry["protocol"] = ""
        valued = any(key in found.numbers for key in members)
        free = ("protocol",) if valued else ("label", "caveat", "unit", *DETAILS)
        seats = [h for h in hosts.get(b, ()) if _fits(entry, found.columns[h], keys, free)]
        for key in dict.fromkeys(members) if seats else ():
            for cells in (found.numbers, found.reasons, found.notes):
                moved = cells.pop(key, None)  # type: ignore[attr-defined]
                for host in seats if moved is not None else ():
                    place = (b, key[1], host)
                    if cells is found.reasons:
                        found.reasons[place] = [*found.reasons.get(place, ()), *moved]
                    else:
                        cells.setdefault(place, moved)  # type: ignore[attr-defined]


def _count_missing_folds(found: Gathered) -> None:
    """Mark numbers that lack runs others have: they are shown, but not ranked."""
    most: dict[tuple[int, int], int] = {}
    for (b, _, c), number in found.numbers.items():
        most[b, c] = max(most.get((b, c), 0), number.folds)
    for key, number in found.numbers.items():
        if key in found.reasons or number.folds < most[key[0], key[2]]:
            found.numbers[key] = replace(number, incomplete=True)
