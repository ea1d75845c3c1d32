"""Estimates the disk space that a plan needs, from the size of its images and the artefacts of earlier runs."""

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
"""Pixels of the images that ``Stage.typical_bytes`` refers to."""
_BY_PIXELS = ("prepare", "translate", "segment")
"""Stages whose artefacts are images, so their size grows with the pixels."""


def estimate(plan: Plan, keys: Iterable[str], store: Store) -> int:
    """The bytes that the artefacts of these units are expected to take.

    As many as those of the same stage and plugin in this store, or else of the same stage; images in proportion to
    their pixels if both data sets have a parameter ``size``.
    """
    total = 0.0
    units = [plan.units[key] for key in keys]
    samples = {stage: _samples(store, stage) for stage in {unit.stage for unit in units}}
    for unit in units:
        pixels = _pixels(_data_of(unit, plan).params) if unit.stage in _BY_PIXELS else None
        same = [each for each in samples[unit.stage] if each[0] == unit.plugin] or samples[unit.stage]
        if same:
            total += fmean(size * ((pixels / own) if pixels and own else 1.0) for _, own, size in same)
        else:
            total += STAGES[unit.stage].typical_bytes * ((pixels / _USUAL) if pixels else 1.0)
    return int(total)


def _samples(store: Store, stage: str) -> list[tuple[str, float | None, int]]:
    """Plugin, pixels of an image if known, and bytes of some artefacts of a stage."""
    samples: list[tuple[str, float | None, int]] = []
    for folder in (store.root / "artefacts" / stage).glob("*/[!.]*"):
        with contextlib.suppress(StoreError, KeyError, TypeError):
            if artefact := store.get(stage, folder.name):
                unit = artefact.manifest["unit"]
                size = sum(file["bytes"] for file in artefact.manifest["files"].values())
                # Translations and label maps have one byte per pixel.
                pixels = (
                    _pixels(unit.get("params", {})) if stage == "prepare" else size / (artefact.info.get("images") or 1)
                )
                samples.append((str(unit.get("plugin", "")), pixels if stage in _BY_PIXELS else None, size))
        if len(samples) >= _SAMPLE:
            break
    return samples


def _data_of(unit: Unit, plan: Plan) -> Unit:
    """The unit that prepares the data of this one."""
    return plan.units[unit.inputs["data"]] if "data" in unit.inputs else unit


def _pixels(params: Any) -> float | None:
    size = params.get("size")
    return float(size) ** 2 if isinstance(size, int) and not isinstance(size, bool) else None
