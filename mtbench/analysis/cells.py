"""Each cell of a table: means over seeds and folds, intervals, and the notes and counts that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.groups import combine, mean_by

CellIndex = tuple[int, ...]
"""Block, row and column."""

COUNTS = ("n", "n_translated", "n_target", "n_patients_translated", "n_patients_target")


@dataclass(frozen=True, slots=True)
class Number:
    """The value of one cell.

    Attributes:
        value: mean over folds, then over seeds.
        std: standard deviation over seeds (n - 1); ``None`` with one seed.
        low, high: confidence interval over patients; ``None`` if a part has none.
        bound_low, bound_high: limits without assumptions about the distribution; ``None`` if a part has none.
        seeds, folds: number of averaged seeds and folds.
        incomplete: whether some of its runs failed, or folds that others have are missing.
    """

    value: float
    std: float | None
    low: float | None
    high: float | None
    bound_low: float | None
    bound_high: float | None
    seeds: int
    folds: int
    incomplete: bool


def average(
    table: pa.Table, b: NDArray[np.int64], r: NDArray[np.int64], c: NDArray[np.int64]
) -> dict[CellIndex, Number]:
    """The value of every cell.

    Args:
        table: score rows that have a value.
        b, r, c: the block, row and column of each.
    """
    if not table.num_rows:
        return {}
    cell, cell_first = combine([b, r, c])
    seed, fold = combine([table["seed"]])[0], combine([table["fold"]])[0]
    run, run_first = combine([cell, fold, seed])
    runs = len(run_first)
    of_runs = {
        name: mean_by(run, np.asarray(pc.fill_null(table[name], float("nan")).to_numpy(), dtype=np.float64), runs)
        for name in ("value", "ci_low", "ci_high", "bound_low", "bound_high")
    }
    value = of_runs["value"]
    # A run of a seed on a fold counts once, even if it was repeated.
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
        # Seeds share their patients, so their half-widths are averaged; folds hold different patients, so
        # theirs add in quadrature. Bounds hold for any distribution, so they are averaged.
        ends = []
        for name, sign in (("ci_low", -1.0), ("ci_high", 1.0)):
            widths = mean_by(by_fold, sign * (of_runs[name] - value), len(fold_first))
            total = np.bincount(cell_of_run[fold_first], weights=widths**2, minlength=count)
            ends.append(mean + sign * np.sqrt(total) / folds)
        for name in ("bound_low", "bound_high"):
            by_cell = mean_by(by_seed, of_runs[name], len(seed_first))
            ends.append(mean_by(cell_of_seed, by_cell, count))
    keys = zip(b[cell_first].tolist(), r[cell_first].tolist(), c[cell_first].tolist(), strict=True)
    known = [[None if end != end else end for end in column.tolist()] for column in ends]
    columns = (mean.tolist(), std.tolist(), *known, seeds.tolist(), folds.tolist())
    return {
        key: Number(m, s if n > 1 else None, low, high, least, most, n, f, False)
        for key, m, s, low, high, least, most, n, f in zip(keys, *columns, strict=True)
    }


def texts_by(
    places: Sequence[NDArray[np.int64]], texts: pa.ChunkedArray, mask: NDArray[np.bool_] | None = None, empty: str = ""
) -> dict[tuple[int, ...], list[str]]:
    """The distinct texts at each place, in order.

    Args:
        places: the numbers of each row, such as its block, row and column.
        texts: the text of each row.
        mask: the rows that count; ``None`` for all.
        empty: replaces a missing text; if it is empty, missing texts are omitted.
    """
    if mask is not None:
        places, texts = [numbers[mask] for numbers in places], texts.filter(pa.array(mask))
    by_place: dict[tuple[int, ...], list[str]] = {}
    _, first = combine([*places, texts])
    keys = zip(*(numbers[first].tolist() for numbers in places), strict=True)
    for key, text in zip(keys, texts.take(pa.array(first)).to_pylist(), strict=True):
        if text or empty:
            by_place.setdefault(key, []).append(text or empty)
    return by_place


def counts(
    table: pa.Table, b: NDArray[np.int64], c: NDArray[np.int64]
) -> dict[tuple[int, int], dict[str, tuple[int, int]]]:
    """For each (block, column), the smallest and largest known value of each of ``COUNTS``."""
    if not table.num_rows:
        return {}
    place, first = combine([b, c])
    keys = list(zip(b[first].tolist(), c[first].tolist(), strict=True))
    ranges: dict[tuple[int, int], dict[str, tuple[int, int]]] = {key: {} for key in keys}
    for name in COUNTS:
        mask = np.asarray(pc.is_valid(table[name]).to_numpy(zero_copy_only=False))
        values = np.asarray(pc.fill_null(table[name], 0).to_numpy(), dtype=np.int64)[mask]
        low, high = np.full(len(keys), 2**62), np.full(len(keys), -1)
        np.minimum.at(low, place[mask], values)
        np.maximum.at(high, place[mask], values)
        for key, smallest, largest in zip(keys, low.tolist(), high.tolist(), strict=True):
            if largest >= 0:
                ranges[key][name] = (smallest, largest)
    return ranges
