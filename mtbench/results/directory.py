"""A results directory: a journal that is only ever appended to, and Parquet tables that are a view of it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from mtbench.errors import DamagedError, RequestError, StoreError, warn
from mtbench.hashing import hash_of
from mtbench.paths import check_folder
from mtbench.results.blind import blinded, blinding
from mtbench.results.currency import changes, current_sources, renewal
from mtbench.results.journal import journal_line, read_journal
from mtbench.results.published import published_scores
from mtbench.results.schema import ATTEMPTS, CASES, SCHEMA_VERSION, SCORES, TABLES, conform, readable, table
from mtbench.results.tablefile import read_table, write_table
from mtbench.store.files import (
    TEMPORARY,
    irregular,
    read_regular,
    sweep,
    telling,
    write_whole,
)
from mtbench.store.owner import owner

MARKER = "mtbench-results.json"
FORMAT = 1
_JOURNAL_ONLY = ("type", "run", "at", "beat", "sum")
"""What only the journal says of an attempt."""


def load(results: str | os.PathLike[str], table: str = "scores", *, private: bool = False) -> pa.Table:
    """A table of a results directory, or of published results (``published:midl2024``).

    Args:
        results: a results directory or ``published:NAME``.
        table: "scores", "attempts" or "cases".
        private: leave the folders and hosts in reasons and notes; see :mod:`mtbench.results.blind`.

    Raises:
        RequestError: that is no results directory, or there is no such table.
    """
    if table not in TABLES:
        raise RequestError(f"there is no table '{table}'", expected="one of " + ", ".join(TABLES))
    name = os.fspath(results)
    if name.startswith("published:"):
        scores = published_scores(name.partition(":")[2])
        return scores if table == "scores" else TABLES[table].empty_table()
    directory = Results.open(Path(name))
    content = readable(conform(directory.table(table), TABLES[table]))
    return content if private or table == "cases" else blinded(content, blinding(directory.records()))


@dataclass
class Results:
    """A results directory.

    Attributes:
        path: the folder.
        latest: what is appended is dated later than this, whatever the clock says; seconds since the epoch.
    """

    path: Path
    latest: float = 0.0
    _journal: IO[str] | None = None

    @staticmethod
    def open(path: Path) -> Results:
        """An existing results directory, for reading.

        Raises:
            RequestError: it does not exist or is something else.
        """
        marker = path / MARKER
        if not marker.is_file():
            what = "there is no results directory" if not path.exists() else "this is not a results directory:"
            raise RequestError(f"{what} {path}", expected=f"a folder made by `mtbench run`, which holds {MARKER}")
        try:
            header = json.loads(read_regular(marker))
        except (ValueError, OSError) as error:
            raise StoreError(f"{MARKER} cannot be read: {error}", where=str(path)) from error
        if header.get("format") != FORMAT:
            raise StoreError(
                f"the results directory is of format {header.get('format')}",
                where=str(path),
                expected=f"format {FORMAT}",
                remedy="Read it with the version of mtbench that made it",
            )
        return Results(path)

    @staticmethod
    def create(path: Path, suite: str) -> Results:
        """A results directory to write into: a new one, or one that is there.

        Raises:
            RequestError: the folder holds other things.
        """
        try:
            check_folder(path)
        except RequestError as error:
            remedy = "Choose another with --out"
            raise RequestError(error.what, expected="a folder for results", remedy=remedy) from error
        if not (path / MARKER).exists():
            # A run that was killed over the marker itself has left its temporary file and nothing else.
            if path.exists() and any(not entry.name.startswith(TEMPORARY) for entry in path.iterdir()):
                raise RequestError(
                    f"{path} is not empty and not a results directory",
                    expected="a new or empty folder, or one made by `mtbench run`",
                    remedy="Choose another with --out",
                )
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise RequestError(
                    f"{path} cannot be made: {error.strerror}", remedy="Choose another with --out"
                ) from error
            except OSError:
                pass  # a full disk or no permission: said by the write that follows
            text = json.dumps({"format": FORMAT, "suite": suite}, indent=1)
            write_whole(path / MARKER, lambda file: file.write(text.encode()))
        return Results.open(path)

    # -- writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold a journal of this process's own; other runs may write here at the same time into theirs."""
        self.journals()
        with telling(self.path):
            (self.path / "journal").mkdir(exist_ok=True)
            sweep(self.path.glob(f"{TEMPORARY}*"))
            sweep(self.path.glob(f"journal/{TEMPORARY}*"))
            name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{owner()}-{secrets.token_hex(4)}.jsonl"
            self._journal = journal = (self.path / "journal" / name).open("a", encoding="utf-8")
        try:
            yield
        finally:
            self._journal = None
            # Closing tries once more to write what a full disk refused, and append() has reported it.
            with contextlib.suppress(OSError):
                journal.close()
            with contextlib.suppress(OSError):
                if not os.path.getsize(journal.name):
                    os.unlink(journal.name)

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line to the journal and flush it to disk; ``at`` says when."""
        assert self._journal is not None, "inside writing()"
        self.latest = max(time.time(), self.latest + 1e-6)
        with telling(self.path):
            self._journal.write(journal_line({**record, "at": self.latest}))
            self._journal.flush()
            os.fsync(self._journal.fileno())

    # -- reading

    def journals(self) -> list[Path]:
        """The journal's files, oldest first.

        Raises:
            StoreError: one is a link, a pipe or something else that leads out of this directory or has no end.
        """
        folder = self.path / "journal"
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            raise irregular(folder)
        paths = sorted(folder.glob("*.jsonl"))
        for path in paths:
            if path.is_symlink() or not path.is_file():
                raise irregular(path)
        return paths

    def records(self) -> Iterator[dict[str, Any]]:
        """All journal lines, oldest file first. A torn last line, the mark of a kill, is left out.

        Raises:
            StoreError: a line is damaged; and as :meth:`journals`.
        """
        for path in self.journals():
            for line in read_journal(path):
                if line.fault:
                    raise StoreError(
                        line.fault,
                        where=f"{path}, line {line.number}",
                        remedy="Put a copy of the file in its place, or delete the line and run the suite again",
                    )
                if not line.torn:
                    yield line.record

    def table(self, name: str) -> pa.Table:
        """One of the tables; rebuilt first if it is damaged, or if the journal has changed since it was made.

        Raises:
            StoreError: that needs a journal that is damaged.
        """
        path = self.path / f"{name}.parquet"
        if not os.path.lexists(path):
            return self.rebuild()[name]
        try:
            table, state = read_table(path)
        except DamagedError as error:
            tables = self.rebuild()
            warn(f"{path}: {error.what}; it was made again from the journal.")
            return tables[name]
        except OSError as error:
            raise StoreError(f"the table cannot be read: {error}", where=str(path)) from error
        return table if state == self.state() else self.rebuild()[name]

    def state(self) -> bytes:
        """What the journal's files are called and how long they are. Not when they were written: clocks go wrong."""
        files = sorted((path.name, path.stat().st_size) for path in self.journals())
        return hash_of(files).encode()

    def rebuild(self) -> dict[str, pa.Table]:
        """Make the tables from the journal and write them, if the directory can be written."""
        while True:
            state = self.state()
            tables = view(self.records())
            for name, data in tables.items():
                with contextlib.suppress(StoreError):
                    write_table(self.path / f"{name}.parquet", data, state)
            # Another run may have added to the journal meanwhile, or put newer tables where these are now.
            if self.state() == state:
                return tables


def last_states(
    records: Iterable[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], dict[str, Mapping[str, Any]], dict[str, int]]:
    """Every ended attempt in the order of time, of each row the last state by its id, and its place in the suite."""
    attempts: list[Mapping[str, Any]] = []
    rows: dict[str, Mapping[str, Any]] = {}
    order: dict[str, int] = {}
    for record in records:
        if record.get("type") == "attempt":
            attempts.append(record)
        elif record.get("type") == "row":
            # Journals of runs at the same time are read one after the other.
            last = rows.get(record["row"])
            if last is None or record.get("at", 0.0) >= last.get("at", 0.0):
                rows[record["row"]] = record
        elif record.get("type") == "order":
            order = {row: place for place, row in enumerate(record["rows"])}
    # Journals of one second have names in no order.
    attempts.sort(key=lambda record: record.get("at", 0.0))
    return [{k: v for k, v in record.items() if k not in _JOURNAL_ONLY} for record in attempts], rows, order


def view(records: Iterable[Mapping[str, Any]]) -> dict[str, pa.Table]:
    """The three tables that a journal says: every attempt, and of each row the last state.

    Raises:
        StoreError: the journal holds what this version does not know, or half a row.
    """
    scores = []
    cases = []
    try:
        records = list(records)
        attempts, rows, order = last_states(records)
        current = current_sources(records)
        requests = {r["run"]: r for r in records if r.get("type") == "request"}
        for record in sorted(rows.values(), key=lambda state: order.get(state["row"], len(order))):
            columns = record["columns"]
            of = {"schema_version": record.get("schema_version", SCHEMA_VERSION), "row_id": record["row"]}
            stale = changes(record, current) if record.get("status") == "measured" else ""
            if stale and (command := renewal(requests.get(record.get("run", "")))):
                stale = f"{stale}; `{command}` makes it again"
            scores += [{**of, **columns, "stale": stale, **values} for values in record["scores"]]
            common = {**of, **{k: columns[k] for k in CASES.names if k in columns}}
            for group in record["cases"]:
                at = {"label": group["label"], "by": group["by"]}
                for case, patient, value in zip(group["case"], group["patient"], group["value"], strict=True):
                    cases.append({**common, **at, "case": case, "patient": patient, "value": value})
        return {
            "scores": table(scores, SCORES),
            "attempts": table([{"schema_version": SCHEMA_VERSION, **a} for a in attempts], ATTEMPTS),
            "cases": table(cases, CASES),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"the journal holds a record that cannot be read: {error.args[0] if error.args else error}",
            expected=f"records of schema version {SCHEMA_VERSION}, whole",
            remedy="Read it with the version of mtbench that made it; `mtbench results verify` names the line",
        ) from error
