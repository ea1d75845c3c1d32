"""Atomic writing of files and folders: temporary name, flush, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from mtbench.errors import DiskFullError, MtbenchError, StoreError
from mtbench.store.owner import is_gone, owner

TEMPORARY = ".tmp-"


class FileState(NamedTuple):
    """The system's record of a file, part of which changes whenever the file is changed or replaced.

    A file replaced by one of the same size and time (tar, rsync) has another inode and another ``ctime``.

    Attributes:
        size: in bytes.
        mtime, ctime: times of the last change of its content and of its metadata, in nanoseconds.
        inode, device: its place on disk.
    """

    size: int
    mtime: int
    ctime: int
    inode: int
    device: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        """The state from a ``stat`` result."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)

    def __str__(self) -> str:
        return " ".join(map(str, self))


def temporary_prefix() -> str:
    """The prefix of this process's temporary files and folders; see :func:`sweep`."""
    return f"{TEMPORARY}{owner()}-"


def sweep(paths: Iterable[Path]) -> None:
    """Remove the temporary files and folders among ``paths`` whose process has ended."""
    for path in paths:
        if path.name.startswith(TEMPORARY) and is_gone(path.name.removeprefix(TEMPORARY).rpartition("-")[0]):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Convert errors of the operating system to errors with a remedy.

    Raises:
        DiskFullError: the disk is full.
        StoreError: ``path`` is not writable.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "the disk is full",
                where=str(path),
                remedy="Free some space and rerun the same command; finished units are kept",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM) and _concerns(error, path):
            raise StoreError(
                "write permission denied",
                where=str(path),
                remedy="Choose another folder with --out or --store",
            ) from error
        raise


def write_whole(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, flush it to disk and rename it into place.

    Raises:
        StoreError: the disk is full or ``path`` is not writable; an existing file stays unchanged.
    """
    with telling(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{temporary_prefix()}{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """A temporary folder that becomes ``path`` if the block succeeds, and is deleted if it fails.

    If ``path`` has appeared in the meantime (another run wrote the same content), the new folder is dropped. ``check``
    is called just before the rename, which its exception prevents.

    Raises:
        StoreError: the disk is full or the place is not writable.
    """
    with telling(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{temporary_prefix()}{secrets.token_hex(8)}")
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            check()
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                shutil.rmtree(temporary, ignore_errors=True)
            _flush(path.parent)
        except BaseException as error:
            full = isinstance(error, Exception) and not isinstance(error, MtbenchError) and _no_room(temporary)
            shutil.rmtree(temporary, ignore_errors=True)
            if full:
                # NumPy and torch do not report why a write failed.
                raise OSError(errno.ENOSPC, "No space left on device") from error
            raise


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the error concerns ``path`` or its surroundings, and not a file that a plugin reads."""
    if error.filename is None:
        return True
    about, place = Path(str(error.filename)).absolute(), path.parent.absolute()
    return about.is_relative_to(place) or place.is_relative_to(about)


def _no_room(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 2**16
    except OSError:
        return False


def open_regular(path: Path) -> IO[bytes]:
    """Open a file of possibly unknown origin, provided that it is a regular file.

    A link could point to a private file; reading a pipe or a device might never end.

    Raises:
        StoreError: it is not a regular file.
        OSError: it does not exist or is not readable.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise irregular(path)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise irregular(path)
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The content of a file of at most ``most`` bytes; see :func:`open_regular`.

    Raises:
        StoreError: it is larger, or not a regular file.
    """
    with open_regular(path) as file:
        if most is not None and os.fstat(file.fileno()).st_size > most:
            raise StoreError("the file is too large", where=str(path), expected=f"at most {most} bytes")
        return file.read()


def irregular(path: Path) -> StoreError:
    """The error for something that should be a regular file or a real folder."""
    mode = os.lstat(path).st_mode
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    kind = next((name for test, name in kinds.items() if test(mode)), "a device")
    return StoreError(
        f"this is {kind}, which mtbench does not read",
        where=str(path),
        expected="regular files and folders only",
        remedy="Delete it, or replace a link with a copy of its target",
    )


def irregular_below(folder: Path) -> Iterator[Path]:
    """The entries below a folder that are neither real folders nor regular files."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False):
                yield from irregular_below(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
