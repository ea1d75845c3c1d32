"""Where mtbench keeps what it may make again: the user's cache folder, by each system's convention."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder for mtbench; not created here."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mtbench"


def store_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The artefact store: ``given``, else ``MTBENCH_STORE``, else below the cache folder."""
    chosen = given or os.environ.get("MTBENCH_STORE")
    return Path(chosen).expanduser().resolve() if chosen else cache_folder() / "store"


def weights_folder() -> Path:
    """Catalogued weight files: ``MTBENCH_WEIGHTS``, else below the cache folder."""
    chosen = os.environ.get("MTBENCH_WEIGHTS")
    return Path(chosen).expanduser().resolve() if chosen else cache_folder() / "weights"
