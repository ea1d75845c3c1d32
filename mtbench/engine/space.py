"""How much disk space a plan needs, judged by what its stages have left so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from mtbench.errors import StoreError
from mtbench.plan import Plan
from mtbench.stages.table import STAGES
from mtbench.store.artefacts import Store

_SAMPLE = 20


def estimate(plan: Plan, keys: Iterable[str], store: Store) -> int:
    """Bytes that the artefacts of these units will take: as many as others of their stages in this store."""
    sizes: dict[str, float] = {}
    total = 0.0
    for key in keys:
        stage = plan.units[key].stage
        if stage not in sizes:
            sizes[stage] = _mean(store, stage)
        total += sizes[stage]
    return int(total)


def estimate_text(plan: Plan, keys: Iterable[str], store: Store) -> str:
    """The same in words."""
    return size(estimate(plan, keys, store))


def size(count: float) -> str:
    """Bytes in words: "1.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _mean(store: Store, stage: str) -> float:
    sizes = []
    for folder in (store.root / "artefacts" / stage).glob("*/*"):
        if not folder.name.startswith("."):
            with contextlib.suppress(StoreError):
                artefact = store.get(stage, folder.name)
                if artefact is not None:
                    sizes.append(sum(file["bytes"] for file in artefact.manifest["files"].values()))
        if len(sizes) >= _SAMPLE:
            break
    return sum(sizes) / len(sizes) if sizes else STAGES[stage].typical_bytes
