"""How much disk space a plan needs, judged by what its stages have left so far."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable

from mtbench.errors import StoreError
from mtbench.plan import Plan
from mtbench.stages.table import STAGES
from mtbench.store.artefacts import Store

_SAMPLE = 20


def estimate(plan: Plan, keys: Iterable[str], store: Store) -> int:
    """Bytes that the artefacts of these units will take: as many as others of their stages in this store."""
    total = 0.0
    for stage, count in Counter(plan.units[key].stage for key in keys).items():
        sizes: list[int] = []
        for folder in (store.root / "artefacts" / stage).glob("*/[!.]*"):
            with contextlib.suppress(StoreError):
                if artefact := store.get(stage, folder.name):
                    sizes.append(sum(file["bytes"] for file in artefact.manifest["files"].values()))
            if len(sizes) >= _SAMPLE:
                break
        total += count * (sum(sizes) / len(sizes) if sizes else STAGES[stage].typical_bytes)
    return int(total)
