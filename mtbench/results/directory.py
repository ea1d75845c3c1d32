"""A results directory: an append-only journal, and Parquet tables that are a view of it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pyarrow as pa

from mtbench.errors import DamagedError, RequestError, StoreError, warn
from mtbench.hashing import hash_of
from mtbench.jsontext import LARGEST, parse
from mtbench.paths import check_folder
from mtbench.results.blind import blinded, blinding
from mtbench.results.currency import changes, current_sources, renewal
from mtbench.results.entries import Attempt, Entry, Order, RowState, RunAsked, plain
from mtbench.results.journal import REMEDY, journal_line, read_journal
from mtbench.results.published import published_scores
from mtbench.results.schema import ATTEMPTS, CASES, SCORES, TABLES, check_table, conform, readable, table
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
from mtbench.typed import MismatchError

MARKER = "mtbench-results.json"
FORMAT = 1


def load(results: str | os.PathLike[str], table: str = "scores", *, private: bool = False) -> pa.Table:
    """A table of a results directory, or of published results (``published:midl2024``).

    Args:
        results: a results directory or ``published:NAME``.
        table: "scores", "attempts" or "cases".
        private: keep the folders and hosts in reasons and notes; see :mod:`mtbench.results.blind`.

    Raises:
        RequestError: it is not a results directory, or the table is unknown.
    """
    if table not in TABLES:
        raise RequestError(f"unknown table '{table}'", expected="one of " + ", ".join(TABLES))
    name = os.fspath(results)
    if name.startswith("published:"):
        scores = published_scores(name.partition(":")[2])
        return scores if table == "scores" else TABLES[table].empty_table()
    directory = Results.open(Path(name))
    content = readable(conform(directory.table(table), TABLES[table]))
    return content if private or table == "cases" else blinded(content, blinding(directory.entries()))


@dataclass
class Results:
    """A results directory.

    Attributes:
        path: the folder.
        latest: new entries are dated later than this, even if the clock is slow; seconds since the epoch.
    """

    path: Path
    latest: float = 0.0
    _journal: IO[str] | None = None

    @staticmethod
    def open(path: Path) -> Results:
        """Open an existing results directory for reading.

        Raises:
            RequestError: it does not exist or is something else.
        """
        marker = path / MARKER
        if not marker.is_file():
            what = "the results directory does not exist" if not path.exists() else "this is not a results directory"
            raise RequestError(what, where=str(path), expected=f"a folder that `mtbench run` wrote, with {MARKER}")
        try:
            header = parse(read_regular(marker, LARGEST))
            version = header["format"]
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise StoreError(f"{MARKER} cannot be read: {error}", where=str(path)) from error
        if version != FORMAT:
            raise StoreError(
                f"the results directory has the format {version!r:.60}",
                where=str(path),
                expected=f"format {FORMAT}",
                remedy="Read it with the version of mtbench that wrote it",
            )
        return Results(path)

    @staticmethod
    def create(path: Path, suite: str) -> Results:
        """Create a results directory, or open an existing one for writing.

        Raises:
            RequestError: the folder contains other files.
        """
        try:
            check_folder(path)
        except RequestError as error:
            remedy = "Choose another with --out"
            raise RequestError(error.what, expected="a folder for results", remedy=remedy) from error
        if not (path / MARKER).exists():
            # A run that was killed while it wrote the marker has left a temporary file and nothing else.
            if path.exists() and any(not entry.name.startswith(TEMPORARY) for entry in path.iterdir()):
                raise RequestError(
                    f"{path} is not empty and not a results directory",
                    expected="a new or empty folder, or one that `mtbench run` wrote",
                    remedy="Choose another with --out",
                )
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise RequestError(
                    f"cannot create {path}: {error.strerror}", remedy="Choose another with --out"
                ) from error
            except OSError:
                pass  # a full disk or no permission: the next write reports it
            text = json.dumps({"format": FORMAT, "suite": suite}, indent=1)
            write_whole(path / MARKER, lambda file: file.write(text.encode()))
        return Results.open(path)

    # -- writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Open a journal for this process; other runs may write to theirs at the same time."""
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
            # Closing repeats the write that failed on a full disk; append() has reported it.
            with contextlib.suppress(OSError):
                journal.close()
            with contextlib.suppress(OSError):
                if not os.path.getsize(journal.name):
                    os.unlink(journal.name)

    def append(self, entry: Entry) -> None:
        """Append one line to the journal and flush it to disk; ``at`` is its time."""
        assert self._journal is not None, "inside writing()"
        self.latest = max(time.time(), self.latest + 1e-6)
        with telling(self.path):
            self._journal.write(journal_line(plain(replace(entry, at=self.latest))))
            self._journal.flush()
            os.fsync(self._journal.fileno())

    # -- reading

    def journals(self) -> list[Path]:
        """The journal's files, oldest first.

        Raises:
            StoreError: one is a link, a pipe or a device.
        """
        folder = self.path / "journal"
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            raise irregular(folder)
        paths = sorted(folder.glob("*.jsonl"))
        for path in paths:
            if path.is_symlink() or not path.is_file():
                raise irregular(path)
        return paths

    def entries(self) -> Iterator[Entry]:
        """All entries of the journal, oldest file first. An incomplete last line, left by a kill, is skipped.

        Raises:
            StoreError: a line is damaged or unknown to this version; and as :meth:`journals`.
        """
        for path in self.journals():
            for line in read_journal(path):
                if line.fault:
                    raise StoreError(line.fault, where=f"{path}, line {line.number}", remedy=REMEDY)
                if line.entry is not None and not line.torn:
                    yield line.entry

    def table(self, name: str) -> pa.Table:
        """One of the tables; rebuilt first if it is damaged or older than the journal.

        All values have the types and bounds that ``results/schema.py`` declares.

        Raises:
            StoreError: the table must be rebuilt and the journal is damaged.
        """
        path = self.path / f"{name}.parquet"
        if not os.path.lexists(path):
            return self.rebuild()[name]
        try:
            table, state = read_table(path, self.size())
            if state != self.state():
                return self.rebuild()[name]
            check_table(table, name)
        except (DamagedError, MismatchError) as error:
            tables = self.rebuild()
            warn(f"{path}: {error.what}; it was rebuilt from the journal.")
            return tables[name]
        except OSError as error:
            raise StoreError(f"the table cannot be read: {error}", where=str(path)) from error
        return table

    def state(self) -> bytes:
        """Names and sizes of the journal's files. Not their times, because clocks may be wrong."""
        files = sorted((path.name, path.stat().st_size) for path in self.journals())
        return hash_of(files).encode()

    def size(self) -> int:
        """Bytes of the journal, which bound the size of its tables."""
        return sum(path.stat().st_size for path in self.journals())

    def rebuild(self) -> dict[str, pa.Table]:
        """Build the tables from the journal, and write them if the directory is writable."""
        while True:
            state = self.state()
            tables = view(self.entries())
            for name, data in tables.items():
                with contextlib.suppress(StoreError):
                    write_table(self.path / f"{name}.parquet", data, state)
            # Another run may have appended to the journal in the meantime, or written newer tables.
            if self.state() == state:
                return tables


def last_states(entries: Iterable[Entry]) -> tuple[list[Attempt], dict[str, RowState], dict[str, int]]:
    """All ended attempts in the order of time, the last state of each row by its id, and the order of the rows."""
    attempts: list[Attempt] = []
    rows: dict[str, RowState] = {}
    order: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, Attempt):
            attempts.append(entry)
        elif isinstance(entry, RowState):
            # Journals of simultaneous runs are read one after the other.
            if entry.row not in rows or entry.at >= rows[entry.row].at:
                rows[entry.row] = entry
        elif isinstance(entry, Order):
            order = {row: place for place, row in enumerate(entry.rows)}
    # The names of journals of the same second are in no order.
    attempts.sort(key=lambda attempt: attempt.at)
    return attempts, rows, order


def view(entries: Iterable[Entry]) -> dict[str, pa.Table]:
    """The three tables of a journal: every attempt, and the last state of each row."""
    scores: list[dict[str, object]] = []
    cases: list[dict[str, object]] = []
    entries = list(entries)
    attempts, rows, order = last_states(entries)
    current = current_sources(entries)
    requests = {entry.run: entry for entry in entries if isinstance(entry, RunAsked)}
    for state in sorted(rows.values(), key=lambda state: order.get(state.row, len(order))):
        stale = changes(state, current) if state.status == "measured" else ""
        if stale and (command := renewal(requests.get(state.run))):
            stale = f"{stale}; `{command}` recomputes it"
        scores += state.score_rows(stale)
        cases += state.case_rows()
    return {
        "scores": table(scores, SCORES),
        "attempts": table([attempt.columns() for attempt in attempts], ATTEMPTS),
        "cases": table(cases, CASES),
    }
