"""Endpoints of the user's own (reader ratings, dose), read from a table, for ``mtbench correlate --against``."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtbench.errors import DataError, RequestError, close_matches, shorten

_KEYS = ("dataset", "translator", "case")


@dataclass(frozen=True)
class Endpoint:
    """One column of the table.

    Attributes:
        name: its heading.
        higher_is_better: its direction.
        values: the mean over cases, by dataset and translator as the table names them; the dataset is empty if the
            table has no such column.
        cases: the values by case, likewise; the case is empty if the table has no such column.
    """

    name: str
    higher_is_better: bool
    values: Mapping[tuple[str, str], float]
    cases: Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True)
class Endpoints:
    """The columns of a table.

    Attributes:
        file: the table's name.
        columns: the endpoints, in the table's order.
        cases: the number of cases behind each value; 0 if the table has no column ``case``.
        translators, datasets: the names in the table.
    """

    file: str
    columns: tuple[Endpoint, ...]
    cases: int
    translators: tuple[str, ...]
    datasets: tuple[str, ...]


def read_endpoints(path: Path, lower: Sequence[str] = ()) -> Endpoints:
    """Read a CSV file with a column ``translator``, optionally ``dataset`` and ``case``, and columns of numbers.

    Commas, semicolons or tabs separate cells. Empty cells are missing values. Columns without any number are ignored.
    With ``case``, a translator's value is the mean over cases, and all translators need the same cases.

    Args:
        path: the file.
        lower: the columns in which lower is better; in the others higher is better.

    Raises:
        DataError: the file cannot be read, lacks a column, repeats a line, or has a cell that is not a finite number.
        RequestError: ``lower`` names no column.
    """
    lines = _lines(path)
    names = [name for name in lines[0][1] if name not in _KEYS]
    for name in lower:
        if name not in names:
            raise RequestError(
                f"--lower: {path.name} has no column '{name}'",
                expected="one of " + ", ".join(names),
                matches=close_matches(name, names),
            )
    _refuse_repeats(path, lines)
    columns, cases = [], 0
    for name in names:
        cells = _numbers(path, name, lines)
        if not cells:
            continue
        values, count = _means(path, name, cells)
        cases = max(cases, count)
        columns.append(Endpoint(name, name not in lower, values, cells))
    if not columns:
        raise DataError("the table has no column of numbers", where=str(path), expected="translator, RATING, ...")
    translators, datasets = (tuple(dict.fromkeys(row.get(key, "") for _, row in lines)) for key in _KEYS[1::-1])
    return Endpoints(path.name, tuple(columns), cases, translators, datasets)


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows, with stripped cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        header = text.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table cannot be read: {error}", where=str(path)) from error
    if "translator" not in reader.fieldnames or not rows:
        raise DataError(
            "the table has no column 'translator'" if rows else "the table has no rows",
            where=str(path),
            expected="a CSV file with the columns translator[, dataset][, case] and one for each endpoint",
            matches=close_matches("translator", reader.fieldnames),
        )
    for line, row in rows:
        if None in row or None in row.values():
            raise DataError(f"line {line} has not as many cells as the heading", where=str(path))
    return [(line, {name: cell.strip() for name, cell in row.items()}) for line, row in rows]


def _refuse_repeats(path: Path, lines: Sequence[tuple[int, Mapping[str, str]]]) -> None:
    first: dict[tuple[str, ...], int] = {}
    for line, row in lines:
        key = tuple(row.get(name, "") for name in _KEYS)
        if first.setdefault(key, line) != line:
            raise DataError(
                f"lines {first[key]} and {line} are both for {' '.join(filter(None, key))}",
                where=str(path),
                remedy="Add a column 'case', or keep one line",
            )


def _numbers(
    path: Path, name: str, lines: Sequence[tuple[int, Mapping[str, str]]]
) -> dict[tuple[str, str], dict[str, float]]:
    """Values by dataset and translator, then by case; empty if the column holds no number at all."""
    values: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    texts = []
    for line, row in lines:
        if not row[name]:
            continue
        try:
            number = float(row[name])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            texts.append((line, row[name]))
            continue
        values[row.get("dataset", ""), row["translator"]][row.get("case", "")] = number
    if values and texts:
        line, text = texts[0]
        raise DataError(
            f"line {line}, column '{name}': '{shorten(text, 40)}' is not a finite number",
            where=str(path),
            remedy="Correct the cell or leave it empty",
        )
    return values


def _means(
    path: Path, name: str, cells: Mapping[tuple[str, str], Mapping[str, float]]
) -> tuple[dict[tuple[str, str], float], int]:
    """The mean over cases, and their number; 0 if there are no cases."""
    cases: dict[str, set[str]] = defaultdict(set)
    for (dataset, _), values in cells.items():
        cases[dataset] |= values.keys()
    for (dataset, translator), values in cells.items():
        missing = sorted(cases[dataset] - values.keys())
        if missing:
            raise DataError(
                f"column '{name}' has no value of '{translator}' for {len(missing)} of {len(cases[dataset])} cases, "
                f"such as '{missing[0]}'",
                where=str(path),
                remedy="Add these values, or remove the cases that not all translators have",
            )
    counts = [len(every) for every in cases.values() if every != {""}]
    return {key: math.fsum(values.values()) / len(values) for key, values in cells.items()}, max(counts, default=0)
