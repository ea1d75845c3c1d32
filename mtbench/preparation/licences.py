"""The accepted licences: a small file in the store with one entry for each data set and licence text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mtbench.errors import StoreError
from mtbench.registry.specs import DatasetSpec
from mtbench.store.files import write_whole


class Licences:
    """The licences that the user of this store has accepted.

    Args:
        store: the store's folder.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / "licences.json"

    def accepted(self, spec: DatasetSpec) -> bool:
        """Whether nothing remains to be accepted: the data set has no licence, or this text was accepted before."""
        return not spec.licence or self._read().get(spec.name, {}).get("licence") == spec.licence

    def accept(self, spec: DatasetSpec) -> None:
        """Record that the licence was accepted now."""
        acceptances = self._read()
        acceptances[spec.name] = {"licence": spec.licence, "accepted": datetime.now(UTC).isoformat(timespec="seconds")}
        text = json.dumps(acceptances, indent=1, sort_keys=True)
        write_whole(self._path, lambda file: file.write(text.encode()))

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        try:
            acceptances: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the record of accepted licences cannot be read: {error}",
                where=str(self._path),
                remedy="Delete it and accept them again",
            ) from error
        return acceptances
