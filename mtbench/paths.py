"""Paths as people write them, and the folders that each system has for a user's programs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from mtbench.errors import RequestError


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
