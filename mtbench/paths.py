"""Paths as people write them, and the folders that each system has for a user's programs."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

import platformdirs

from mtbench.errors import RequestError, shorten


def expand(path: str | os.PathLike[str]) -> Path:
    """``path`` with ``~`` in place.

    Raises:
        RequestError: nobody knows where that home folder is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RequestError(f"'{path}' is in a home folder that is not known", remedy="Write the whole path") from error


def cache_folder() -> Path:
    """The user's cache folder for mtbench; not created here.

    Raises:
        RequestError: nobody knows where it is.
    """
    return _folder("cache", "MTBENCH_STORE and MTBENCH_WEIGHTS")


def config_folder() -> Path:
    """The user's configuration folder for mtbench.

    Raises:
        RequestError: nobody knows where it is.
    """
    return _folder("configuration", "MTBENCH_CONFIG")


def _folder(kind: str, variables: str) -> Path:
    try:
        if kind == "cache":
            folder = platformdirs.user_cache_path("mtbench", appauthor=False, opinion=False)
        else:
            folder = platformdirs.user_config_path("mtbench", appauthor=False, roaming=True)
    except RuntimeError:
        folder = Path()
    # Where there is no home folder, older versions of platformdirs give a path that starts with "~".
    if folder.is_absolute():
        return folder
    raise RequestError(
        f"your {kind} folder is not known, for this user has no home folder",
        remedy=f"Set {variables}, or HOME, to a folder",
    )


def storable(text: str) -> str:
    """``text`` as UTF-8 can hold it: the bytes of a file name that are none are written as ``\\xff``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def check_folder(path: Path) -> None:
    """Refuse a path that is no folder and can become none.

    Raises:
        RequestError: a file stands there or on the way, a name is too long, or the path leads in a circle.
    """
    for place in (path, *path.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, PermissionError):
            continue  # it can be made, or whoever writes there says why not
        except (OSError, ValueError) as error:
            if isinstance(error, NotADirectoryError):
                continue
            reason = error.strerror if isinstance(error, OSError) else "the name holds a null character"
            raise RequestError(f"'{shorten(str(path))}' cannot be a folder: {reason}") from error
        if not stat.S_ISDIR(mode):
            raise RequestError(f"{shorten(str(place))} is a file", expected="a folder")
        return


def refuse_if_others_write(path: Path) -> None:
    """Refuse a file that decides what runs on this account, if another account could write or replace it.

    Raises:
        RequestError: the file or its folder can be written by others.
    """
    for place, kind in ((path, "file"), (path.resolve().parent, "folder")):
        try:
            mode = place.stat()
        except OSError:
            continue  # whoever reads it says so
        everybody = mode.st_mode & stat.S_IWOTH and not (kind == "folder" and mode.st_mode & stat.S_ISVTX)
        group = mode.st_mode & stat.S_IWGRP and not _is_private(mode.st_gid, mode.st_uid)
        if everybody or group:
            raise RequestError(
                f"others can write this {kind}, and it names programs that run as you",
                where=str(place),
                remedy=f"chmod go-w {shlex.quote(str(place))}",
            )


def _is_private(group: int, user: int) -> bool:
    """Whether a group is the one that many systems make for each user, with nobody else in it."""
    try:
        import grp
        import pwd

        entry, account = grp.getgrgid(group), pwd.getpwuid(user)
    except (ImportError, KeyError):
        return False
    return entry.gr_gid == account.pw_gid and set(entry.gr_mem) <= {account.pw_name}
