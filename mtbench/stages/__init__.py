"""The seven stages, one file each: ``run(work, folder) -> info``; the table of them; the arithmetic they share."""

from __future__ import annotations

from mtbench.stages.table import STAGES, Stage

__all__ = ["STAGES", "Stage"]
