"""What identifies raw files: relative path, size and sha256; the sha is remembered as long as the file's stat is."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from mtbench.errors import DataError
from mtbench.hashing import hash_of
from mtbench.store.files import sha256_of

_READERS = 8
_UNREADABLE = "unreadable"


class Hashes:
    """A cache of file hashes in the store.

    Args:
        path: an SQLite file; a damaged or unwritable one is done without.
    """

    def __init__(self, path: Path) -> None:
        self._db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, sha256 TEXT)"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS sets (sizes TEXT PRIMARY KEY)")
        except (sqlite3.Error, OSError):
            self._db = None

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def remember(self, digests: Mapping[str, tuple[int, int, str]]) -> None:
        """Keep hashes that somebody else has made: by path the bytes, time of change (ns) and sha256 of a file."""
        rows = [(path, *digest) for path, digest in digests.items()]
        try:
            if self._db is not None:
                self._db.execute("BEGIN")
                self._db.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", rows)
                self._db.execute("COMMIT")
        except sqlite3.Error:
            self._db = None

    def fingerprint(self, root: Path, files: Iterable[Path], *, cached_only: bool = False) -> str | None:
        """One hash for many files: their paths relative to ``root``, sizes and contents, in whatever order.

        Files whose hash is not known are read by several threads. One that cannot be read counts as such.

        Raises:
            DataError: a file is not there or not accessible.
        """
        stats: dict[Path, tuple[int, int, str]] = {}
        unknown: dict[Path, os.stat_result] = {}
        for path in files:
            with _naming(path):
                stat = path.stat()
            digest = self._lookup(path, stat)
            if digest is not None:
                stats[path] = (stat.st_size, stat.st_mtime_ns, digest)
            elif cached_only:
                return None
            else:
                unknown[path] = stat
        if unknown:
            with ThreadPoolExecutor(min(_READERS, len(unknown))) as pool:
                for (path, stat), digest in zip(unknown.items(), pool.map(_read, unknown), strict=True):
                    stats[path] = (stat.st_size, stat.st_mtime_ns, digest)
            self.remember({str(path): stats[path] for path in unknown if stats[path][2] != _UNREADABLE})
        self._do(
            "INSERT OR IGNORE INTO sets VALUES (?)", _sizes(root, ((path, size) for path, (size, *_) in stats.items()))
        )
        return hash_of(sorted((_name(path, root), size, digest) for path, (size, _, digest) in stats.items()))

    def recognises(self, root: Path, files: Iterable[Path]) -> bool:
        """Whether a :func:`fingerprint` was made of files of the same names and sizes before."""
        sizes = []
        for path in files:
            with _naming(path):
                sizes.append((path, path.stat().st_size))
        return bool(self._do("SELECT 1 FROM sets WHERE sizes = ?", _sizes(root, sizes)))

    def _do(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        try:
            return [] if self._db is None else self._db.execute(statement, values).fetchall()
        except sqlite3.Error:
            self._db = None
        return []

    def _lookup(self, path: Path, stat: os.stat_result) -> str | None:
        query = "SELECT sha256 FROM hashes WHERE path = ? AND size = ? AND mtime = ?"
        rows = self._do(query, str(path), stat.st_size, stat.st_mtime_ns)
        return str(rows[0][0]) if rows else None


def unread(root: Path, files: Iterable[Path]) -> str:
    """One hash for many files that nobody has read: their paths relative to ``root``, sizes and times of change.

    Raises:
        DataError: a file is not there or not accessible.
    """
    entries = []
    for path in files:
        with _naming(path):
            stat = path.stat()
        entries.append((_name(path, root), stat.st_size, stat.st_mtime_ns))
    return hash_of(sorted(entries))


def _sizes(root: Path, files: Iterable[tuple[Path, int]]) -> str:
    return hash_of(sorted((_name(path, root), size) for path, size in files))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _read(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        # Whoever needs it says what is wrong with it, or does without; it is tried again next time.
        return _UNREADABLE


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
