"""The two spreadsheets: the manufacturer of each patient's scanner, and which series is the pre-contrast one.

Clinical_and_Other_Features.xlsx has three header rows: categories, names (some with blanks around them), and a legend
of the codes. Breast-Cancer-MRI-filepath_filename-mapping.xlsx has one row for each of some 770,000 files.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtbench.errors import DataError, RequestError, close_matches
from mtbench.paths import cache_folder
from mtbench.store.files import write_whole

PATIENT = re.compile(r"Breast_MRI_\d{3,}")
_HEADERS_WITHIN = 10
_CODES = {"0": "GE", "2": "Siemens"}
_LEGEND = re.compile(r"(GE|SIEMENS)[^=,;]*=\s*(\d+)|(\d+)\s*=\s*(GE|SIEMENS)", re.IGNORECASE)


def manufacturers(path: Path) -> dict[str, str]:
    """Manufacturer by patient: "GE", "Siemens", or the sheet's own text if it is neither.

    Raises:
        DataError: the sheet cannot be read, has no column "Patient ID" or "Manufacturer" in its first rows, or its
            own legend gives the codes another meaning than 0 = GE and 2 = Siemens.
    """
    patient, manufacturer = -1, -1
    makers: dict[str, str] = {}
    for number, row in enumerate(_rows(path)):
        cells = [_text(cell) for cell in row]
        if patient < 0 and number < _HEADERS_WITHIN and "Patient ID" in cells:
            if "Manufacturer" not in cells:
                _lacks(path, "Manufacturer", cells)
            patient, manufacturer = cells.index("Patient ID"), cells.index("Manufacturer")
        elif patient >= 0 and len(cells) > max(patient, manufacturer):
            if PATIENT.fullmatch(cells[patient]):
                makers[cells[patient]] = _maker(cells[manufacturer])
            elif not makers:
                _check_legend(cells[manufacturer], path)
    if patient < 0:
        _lacks(path, "Patient ID", [])
    if not makers:
        raise DataError("the sheet names no patient", where=str(path), expected="rows such as Breast_MRI_001")
    return makers


def precontrast(path: Path) -> dict[str, list[str]]:
    """For each patient the names that the folder of the pre-contrast series may have.

    Rows whose original path contains "pre"; the patient is the second part of that path, the folder the last but one
    part of the descriptive path, which holds doubled slashes, and of the classic one.

    Raises:
        DataError: the sheet cannot be read or lacks a column.
    """
    stat = path.stat()
    return _precontrast(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _precontrast(path: Path, size: int, changed: int) -> dict[str, list[str]]:
    # Reading so many rows takes a minute or two, so the result is cached per file.
    name = hashlib.sha256(f"{path}\n{size}\n{changed}".encode()).hexdigest()[:32]
    with contextlib.suppress(OSError, ValueError, RequestError):
        memory: dict[str, list[str]] = json.loads(_memory(name).read_text(encoding="utf-8"))
        return memory
    rows = _rows(path)
    header = [_text(cell) for cell in next(rows, ())]
    for required in ("original_path_and_filename", "descriptive_path"):
        if required not in header:
            _lacks(path, required, header)
    original, columns = header.index("original_path_and_filename"), [header.index("descriptive_path")]
    columns += [header.index("classic_path")] if "classic_path" in header else []
    names_of: dict[str, list[str]] = {}
    for row in rows:
        parts = _text(row[original]).split("/")
        if "pre" not in _text(row[original]) or len(parts) < 2:
            continue
        names = names_of.setdefault(parts[1], [])
        for column in columns:
            folders = [part for part in _text(row[column]).split("/") if part]
            if len(folders) > 1 and folders[-2] not in names:
                names.append(folders[-2])
    with contextlib.suppress(Exception):  # if the cache cannot be written, go on without it
        write_whole(_memory(name), lambda file: file.write(json.dumps(names_of).encode()))
    return names_of


def _memory(name: str) -> Path:
    return cache_folder() / "breast-siemens-ge" / f"{name}.json"


def _rows(path: Path) -> Iterator[Sequence[Any]]:
    try:
        if path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield from csv.reader(file)
            return
        from openpyxl import load_workbook

        book = load_workbook(path, read_only=True, data_only=True)
        try:
            yield from book.worksheets[0].iter_rows(values_only=True)
        finally:
            book.close()
    except Exception as error:  # openpyxl has many exceptions for a file that is not a workbook
        raise DataError(
            f"the spreadsheet cannot be read: {error}", where=str(path), remedy="Download it again"
        ) from error


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()


def _maker(cell: str) -> str:
    words = cell.lower()
    if words.startswith("siemens"):
        return "Siemens"
    return "GE" if words == "ge" or words.startswith("ge ") else _CODES.get(cell, cell or "nothing")


def _check_legend(legend: str, path: Path) -> None:
    for name, code, other_code, other_name in _LEGEND.findall(legend):
        maker = (name or other_name).upper()
        if _CODES.get(code or other_code, "").upper() != maker:
            raise DataError(
                f"its legend says that {code or other_code} is {maker}",
                where=f"{path}, column Manufacturer",
                expected="0 = GE and 2 = Siemens",
            )


def _lacks(path: Path, column: str, header: Sequence[str]) -> None:
    raise DataError(
        f"no column is called '{column}'",
        where=str(path),
        expected=f"it in one of the first {_HEADERS_WITHIN} rows",
        matches=close_matches(column, [cell for cell in header if cell]),
        remedy="Download the spreadsheet again; if its columns were renamed, restore their names",
    )
