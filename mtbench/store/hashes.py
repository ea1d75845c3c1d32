"""Fingerprints of files: relative path, size and sha256, which is remembered while the file's state is unchanged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from mtbench.errors import DataError, RequestError, silent
from mtbench.hashing import hash_of
from mtbench.paths import cache_folder, storable
from mtbench.store.files import FileState, sha256_of

_READERS = 8
_UNREADABLE = "unreadable"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Hashes:
    """A cache of file hashes in the store.

    Its content can be recomputed: a damaged cache file is replaced, and if it is not writable, one in the user's cache
    folder is used.

    Args:
        path: an SQLite file.
        note: called with messages for the user.
    """

    def __init__(self, path: Path, note: Callable[[str], None] = silent) -> None:
        self._note = note
        self._db: sqlite3.Connection | None = None
        self._path = path
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        if not _writable(path):
            try:
                self._path = cache_folder() / path.name
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except (OSError, RequestError):
                return
            note(f"{path} is not writable; file hashes are stored in {self._path}.")
        self._open()

    def _open(self) -> None:
        try:
            _create(self._path)
            self._db = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        except (sqlite3.Error, OSError):
            return
        # Hashes lost in a power failure are recomputed, so there is no need to wait for the disk.
        self._do("PRAGMA synchronous = OFF")
        self._do("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, state TEXT, sha256 TEXT)")
        self._do("CREATE TABLE IF NOT EXISTS sets (sizes TEXT PRIMARY KEY)")

    def close(self) -> None:
        """Close the cache file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def remember(self, digests: Mapping[str, tuple[FileState, str]]) -> None:
        """Store hashes computed elsewhere: path, state and sha256 of each file."""
        rows = [(storable(path), str(state), digest) for path, (state, digest) in digests.items()]
        try:
            if self._db is not None:
                self._db.execute("BEGIN")
                self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(error)

    def moved(self, folder: Path, to: Path) -> None:
        """Record that a folder was renamed; the states of its files are unchanged."""
        first, end = f"{folder}{os.sep}", f"{folder}{chr(ord(os.sep) + 1)}"
        self._do(
            "UPDATE OR REPLACE files SET path = ? || substr(path, ?) WHERE path >= ? AND path < ?",
            f"{to}{os.sep}",
            len(first) + 1,
            first,
            end,
        )

    def sha256(
        self, files: Iterable[Path], *, cached_only: bool = False, again: bool = False
    ) -> dict[Path, tuple[int, str]] | None:
        """Size and sha256 of files; files without a known hash are read by several threads.

        An unreadable file has "unreadable" instead of a hash.

        Args:
            files: their paths.
            cached_only: return ``None`` if a file would have to be read.
            again: read all files, even those with known hashes.

        Raises:
            DataError: a file does not exist or is not accessible.
        """
        known: dict[Path, tuple[int, str]] = {}
        unknown: dict[Path, FileState] = {}
        for path in files:
            with _naming(path):
                state = FileState.of(path.stat())
            digest = None if again else self._lookup(path, state)
            if digest is not None:
                known[path] = (state.size, digest)
            elif cached_only:
                return None
            else:
                unknown[path] = state
        if unknown:
            with ThreadPoolExecutor(min(_READERS, len(unknown))) as pool:
                digests = dict(zip(unknown, pool.map(_read, unknown), strict=True))
            known |= {path: (state.size, digests[path]) for path, state in unknown.items()}
            readable = {str(path): (state, digests[path]) for path, state in unknown.items()}
            self.remember({path: pair for path, pair in readable.items() if pair[1] != _UNREADABLE})
        return known

    def fingerprint(self, root: Path, files: Iterable[Path], *, cached_only: bool = False) -> str | None:
        """One hash for many files: their paths relative to ``root``, sizes and contents, regardless of the order.

        Raises:
            DataError: a file does not exist or is not accessible.
        """
        known = self.sha256(files, cached_only=cached_only)
        if known is None:
            return None
        sizes = _sizes(root, ((path, size) for path, (size, _) in known.items()))
        self._do("INSERT OR IGNORE INTO sets VALUES (?)", sizes)
        return hash_of(sorted((_name(path, root), size, digest) for path, (size, digest) in known.items()))

    def recognises(self, root: Path, files: Iterable[Path]) -> bool:
        """Whether a :func:`fingerprint` of files with the same names and sizes was computed before."""
        sizes = []
        for path in files:
            with _naming(path):
                sizes.append((path, path.stat().st_size))
        return bool(self._do("SELECT 1 FROM sets WHERE sizes = ?", _sizes(root, sizes)))

    def _do(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        try:
            return [] if self._db is None else self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self._fail(error)
        return []

    def _fail(self, error: sqlite3.Error) -> None:
        """Stop using the cache file, or replace it if it is damaged."""
        self.close()
        if error.sqlite_errorcode & 0xFF not in _DAMAGED:
            return
        try:
            self._path.unlink()
        except OSError:
            return
        self._note(f"{self._path} was damaged ({error}) and has been replaced; all files are hashed again.")
        self._open()

    def _lookup(self, path: Path, state: FileState) -> str | None:
        rows = self._do("SELECT sha256 FROM files WHERE path = ? AND state = ?", storable(str(path)), str(state))
        return str(rows[0][0]) if rows else None


def _writable(path: Path) -> bool:
    # SQLite writes a journal beside it.
    folder = path.parent
    return folder.is_dir() and os.access(folder, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _create(path: Path) -> None:
    """An empty file that all users with write access to the folder may write; SQLite's journals get the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        path.chmod(path.parent.stat().st_mode & 0o666 | 0o600)


def unread(root: Path, files: Iterable[Path]) -> str:
    """One hash for many unread files: their paths relative to ``root``, sizes and modification times.

    Raises:
        DataError: a file does not exist or is not accessible.
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
        # The reader of the file reports the problem or does without it; the next call retries.
        return _UNREADABLE


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
