"""Files of the project that are not code: in the wheel, or at the root of an editable checkout."""

from __future__ import annotations

from pathlib import Path

from mtbench.errors import StoreError

PACKAGE = Path(__file__).resolve().parent
"""The folder of the package ``mtbench``."""


def resource_path(name: str) -> Path:
    """The path of ``registry.toml`` or of a file below ``results/published``.

    Raises:
        StoreError: the installation does not contain it.
    """
    for base in (PACKAGE / "_resources", PACKAGE.parent):
        path = base / name
        if path.exists():
            return path
    raise StoreError(f"the file {name} is missing in this installation", remedy="Reinstall mtbench")
