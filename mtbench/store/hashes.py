"""What identifies raw files: relative path, size and sha256; the sha is remembered as long as the file's stat is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from mtbench.errors import DataError
from mtbench.store.artefacts import hash_of
from mtbench.store.files import sha256_of


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
        except (sqlite3.Error, OSError):
            self._db = None

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def sha256(self, path: Path, *, only_known: bool = False) -> str | None:
        """The file's sha256; with ``only_known``, ``None`` where it would have to be read."""
        stat = path.stat()
        try:
            if self._db is not None:
                row = self._db.execute(
                    "SELECT sha256 FROM hashes WHERE path = ? AND size = ? AND mtime = ?",
                    (str(path), stat.st_size, stat.st_mtime_ns),
                ).fetchone()
                if row:
                    return str(row[0])
        except sqlite3.Error:
            self._db = None
        if only_known:
            return None
        digest = sha256_of(path)
        try:
            if self._db is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)",
                    (str(path), stat.st_size, stat.st_mtime_ns, digest),
                )
        except sqlite3.Error:
            self._db = None
        return digest

    def fingerprint(self, root: Path, files: Iterable[Path], *, only_known: bool = False) -> str | None:
        """One hash for many files: their paths relative to ``root``, sizes and contents, in whatever order.

        Raises:
            DataError: a file cannot be read.
        """
        entries = []
        for path in files:
            try:
                digest = self.sha256(path, only_known=only_known)
                if digest is None:
                    return None
                name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
                entries.append((name, path.stat().st_size, digest))
            except OSError as error:
                raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
        return hash_of(sorted(entries))
