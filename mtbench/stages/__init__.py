"""The seven stages, one file each: ``run(work, folder) -> info``; the table of stages; shared arithmetic."""

from __future__ import annotations

from mtbench.stages.table import STAGES, Stage

__all__ = ["STAGES", "Stage"]
