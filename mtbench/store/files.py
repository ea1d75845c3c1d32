"""Files and folders that appear whole or not at all: temporary name, flush, rename."""

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
    """What the system says of a file and cannot stay the same when somebody replaces or changes it.

    A file replaced by one of the same size and time (tar, rsync) has another inode and another ``ctime``.

    Attributes:
        size: in bytes.
        mtime, ctime: of the last change of its content, and of anything about it; nanoseconds.
        inode, device: where it lies.
    """

    size: int
    mtime: int
    ctime: int
    inode: int
    device: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        """The state that ``stat`` tells."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)

    def __str__(self) -> str:
        return " ".join(map(str, self))


def temporary_prefix() -> str:
    """How the names of this process's temporary files and folders begin; see :func:`sweep`."""
    return f"{TEMPORARY}{owner()}-"


def sweep(paths: Iterable[Path]) -> None:
    """Remove those temporary files and folders among ``paths`` whose process runs no more."""
    for path in paths:
        if path.name.startswith(TEMPORARY) and is_gone(path.name.removeprefix(TEMPORARY).rpartition("-")[0]):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors a person can act on.

    Raises:
        DiskFullError: there is no room.
        StoreError: ``path`` may not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "the disk is full",
                where=str(path),
                remedy="Nothing that was finished is lost: free some space and run the same command again",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM) and _concerns(error, path):
            raise StoreError(
                "no permission to write",
                where=str(path),
                remedy="Choose another folder with --out or --store",
            ) from error
        raise


def write_whole(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, flush it to disk and rename it into place.

    Raises:
        StoreError: the disk is full or ``path`` may not be written; an older file is left as it was.
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
    """A temporary folder that becomes ``path`` when the block ends well, and disappears when it does not.

    Where ``path`` has appeared meanwhile (another run made the same thing) the newcomer is dropped. ``check`` is
    called last before the renaming; what it raises stops it.

    Raises:
        StoreError: the disk is full or the place may not be written.
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
                # NumPy and torch do not say why a write failed.
                raise OSError(errno.ENOSPC, "No space left on device") from error
            raise


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the refusal is about ``path`` or what is around it, and not about a file that a plugin reads."""
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
    """Open a file that somebody else may have created, provided that it is a regular one.

    A link could point to a private file; reading a pipe or a device might never end.

    Raises:
        StoreError: it is something else.
        OSError: it is not there, or may not be read.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise irregular(path)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise irregular(path)
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most: int | None = None) -> bytes:
    """What stands in a file, of ``most`` bytes; see :func:`open_regular`.

    Raises:
        StoreError: it holds more, or is no regular file.
    """
    with open_regular(path) as file:
        if most is not None and os.fstat(file.fileno()).st_size > most:
            raise StoreError(f"the file has more than {most} bytes, so it is not read", where=str(path))
        return file.read()


def irregular(path: Path) -> StoreError:
    """The error for something that should be a regular file or a real folder."""
    mode = os.lstat(path).st_mode
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    kind = next((name for test, name in kinds.items() if test(mode)), "a device")
    return StoreError(
        f"this is {kind}, so it is not read",
        where=str(path),
        expected="regular files and folders only",
        remedy="Delete it, or replace a link by a copy of what it points to",
    )


def irregular_below(folder: Path) -> Iterator[Path]:
    """What lies below a folder and is neither a real folder nor a regular file."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False):
                yield from irregular_below(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
