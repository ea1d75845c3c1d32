"""The folders for data that mtbench can recompute or download again."""

from __future__ import annotations

import os
from pathlib import Path

from mtbench.errors import RequestError
from mtbench.paths import cache_folder, check_folder, expand


def store_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The artefact store: ``folder``, else ``MTBENCH_STORE``, else below the user's cache folder.

    Raises:
        RequestError: it cannot be a folder: a file exists there, or a name is too long.
    """
    folder = folder or os.environ.get("MTBENCH_STORE")
    place = expand(folder).resolve() if folder else cache_folder() / "store"
    try:
        check_folder(place)
    except RequestError as error:
        remedy = "Choose another folder with --store or MTBENCH_STORE"
        raise RequestError(error.what, where="the store", expected=error.expected, remedy=remedy) from error
    return place


def weights_folder() -> Path:
    """Catalogued weight files: ``MTBENCH_WEIGHTS``, else below the user's cache folder."""
    folder = os.environ.get("MTBENCH_WEIGHTS")
    return expand(folder).resolve() if folder else cache_folder() / "weights"
