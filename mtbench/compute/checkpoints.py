"""Checkpoints of a running fit, from which a killed fit resumes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtbench.errors import StoreError
from mtbench.store.files import write_whole

_FILE = "checkpoint.pt"


@dataclass
class Checkpoints:
    """One file, replaced atomically at each save; it is deleted when the fit's artefact is committed.

    Attributes:
        folder: the folder of the file; created at the first save.
        every_seconds: how long :meth:`due` waits after a save.
    """

    folder: Path
    every_seconds: float = 120.0
    _last: float = field(default_factory=time.monotonic, init=False)

    def restore(self) -> dict[str, Any] | None:
        """The last saved state, or ``None``. Loaded with ``weights_only=True``: tensors, numbers, text only."""
        path = self.folder / _FILE
        if not path.exists():
            return None
        import torch

        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise StoreError(
                f"the checkpoint cannot be read: {error}",
                where=str(path),
                remedy="Delete it to start again",
            ) from error
        return dict(state)

    def due(self) -> bool:
        """Whether a save is due."""
        return time.monotonic() - self._last >= self.every_seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Write ``state`` atomically: temporary name, flush, rename."""
        import torch

        write_whole(self.folder / _FILE, lambda file: torch.save(dict(state), file))
        self._last = time.monotonic()
