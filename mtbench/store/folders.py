"""Where mtbench keeps what it may make again."""

from __future__ import annotations

import os
from pathlib import Path

from mtbench.paths import cache_folder, expand


def store_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The artefact store: ``folder``, else ``MTBENCH_STORE``, else below the user's cache folder."""
    folder = folder or os.environ.get("MTBENCH_STORE")
    return expand(folder).resolve() if folder else cache_folder() / "store"


def weights_folder() -> Path:
    """Catalogued weight files: ``MTBENCH_WEIGHTS``, else below the user's cache folder."""
    folder = os.environ.get("MTBENCH_WEIGHTS")
    return expand(folder).resolve() if folder else cache_folder() / "weights"
