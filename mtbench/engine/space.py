"""How much disk space a plan needs: by the size of its images, and by what its stages have left so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from mtbench.errors import StoreError
from mtbench.plan import Plan
from mtbench.stages.table import STAGES
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Store

_SAMPLE = 20
_USUAL = 256 * 256
"""Pixels of the images that ``Stage.typical_bytes`` is about."""
_BY_PIXELS = ("prepare", "translate", "segment")
"""Stages whose artefacts are images and grow with their size."""


def estimate(plan: Plan, keys: Iterable[str], store: Store) -> int:
    """Bytes that the artefacts of these units will take.

    As many as others of their stage and plugin in this store, or else of their stage; images in proportion to their
    pixels, where both data sets have a parameter ``size``.
    """
    total = 0.0
    units = [plan.units[key] for key in keys]
    made = {stage: _made(store, stage) for stage in {unit.stage for unit in units}}
    for unit in units:
        pixels = _pixels(_data_of(unit, plan).params) if unit.stage in _BY_PIXELS else None
        same = [each for each in made[unit.stage] if each[0] == unit.plugin] or made[unit.stage]
        if same:
            total += fmean(size * ((pixels / own) if pixels and own else 1.0) for _, own, size in same)
        else:
            total += STAGES[unit.stage].typical_bytes * ((pixels / _USUAL) if pixels else 1.0)
    return int(total)


def _made(store: Store, stage: str) -> list[tuple[str, float | None, int]]:
    """Plugin, pixels of an image where they are known, and bytes of some artefacts of a stage."""
    found: list[tuple[str, float | None, int]] = []
    for folder in (store.root / "artefacts" / stage).glob("*/[!.]*"):
        with contextlib.suppress(StoreError, KeyError, TypeError):
            if artefact := store.get(stage, folder.name):
                unit = artefact.manifest["unit"]
                size = sum(file["bytes"] for file in artefact.manifest["files"].values())
                # Translations and label maps have a byte a pixel.
                pixels = (
                    _pixels(unit.get("params", {})) if stage == "prepare" else size / (artefact.info.get("images") or 1)
                )
                found.append((str(unit.get("plugin", "")), pixels if stage in _BY_PIXELS else None, size))
        if len(found) >= _SAMPLE:
            break
    return found


def _data_of(unit: Unit, plan: Plan) -> Unit:
    """The unit that prepares the data of this one."""
    return plan.units[unit.inputs["data"]] if "data" in unit.inputs else unit


def _pixels(params: Any) -> float | None:
    size = params.get("size")
    return float(size) ** 2 if isinstance(size, int) and not isinstance(size, bool) else None
