"""The seven stages. Each is one file: a ``STAGE_REVISION`` and ``run(work, folder) -> info``."""

from __future__ import annotations

STAGES = ("prepare", "split", "fit", "translate", "extract", "segment", "score")
