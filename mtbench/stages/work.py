"""What a stage is given, and how it reads image sets from artefacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Domain, ImageSet, Split, Task
from mtbench.errors import DataError
from mtbench.registry.discovery import Registered
from mtbench.rows import Rows
from mtbench.store.artefacts import Artefact
from mtbench.store.images import read_slices

if TYPE_CHECKING:
    from mtbench.compute.context import Context


@dataclass
class Work:
    """One unit at work.

    Attributes:
        name: what a person calls the unit.
        params: of its plugin, with paths resolved.
        paths: resolved paths, a dataset's "root" among them.
        options: what the plan asks of the stage.
        seed: of the unit, or ``None``.
        inputs: artefacts by role.
        registered: the plugin's spec, or ``None`` (split).
        task, context: as plugins see them.
        strict: whether a data set is refused when cases of it have to be left out.
    """

    name: str
    params: Mapping[str, Any]
    paths: Mapping[str, str]
    options: Mapping[str, Any]
    seed: int | None
    inputs: Mapping[str, Artefact]
    registered: Registered | None
    task: Task
    context: Context
    strict: bool = False

    @cached_property
    def plugin(self) -> Any:
        """The plugin's object, made once."""
        assert self.registered is not None
        return self.registered.create(self.params)

    @property
    def blame(self) -> str:
        """Whose code runs: for messages."""
        if self.registered is None:
            return self.name
        spec = self.registered.spec
        return f"{spec.kind} '{spec.name}' of {self.registered.plugin.origin}"

    def images(self, where: Mapping[str, str], made_by: str = "") -> ImageSet:
        """The slices of a domain and split; their pixels from the unit in role ``made_by`` if there is one."""
        real = read_set(self.inputs["data"], self.inputs["split"], self.task, where)
        if not made_by or made_by not in self.inputs:
            return real
        pixels = np.load(self.inputs[made_by].path / "images.npy", mmap_mode="r", allow_pickle=False)
        if len(pixels) != len(real):
            raise DataError(f"{len(pixels)} translated images for {len(real)} source slices", where=self.name)
        return ImageSet(pixels, real.slices, real.masks, real.task, real.domain, real.split)


def read_set(data: Artefact, split: Artefact, task: Task, where: Mapping[str, str]) -> ImageSet:
    """Slices of ``where["domain"]`` on the ``where["split"]`` side."""
    domain, side = where["domain"], where["split"]
    chosen = positions(split, where)
    slices = read_slices(data.path, domain)
    images = np.load(data.path / f"images-{domain}.npy", mmap_mode="r", allow_pickle=False)
    masks_path = data.path / f"masks-{domain}.npy"
    masks = np.load(masks_path, mmap_mode="r", allow_pickle=False) if masks_path.exists() else None
    return ImageSet(
        images=_rows(images, chosen),
        slices=tuple(slices[i] for i in chosen),
        masks=None if masks is None else _rows(masks, chosen),
        task=task,
        domain=_domain(domain),
        split=_side(side),
    )


def positions(split: Artefact, where: Mapping[str, str]) -> list[int]:
    """Which of the prepared images of ``where["domain"]`` are on the ``where["split"]`` side."""
    sides = json.loads((split.path / "split.json").read_text())["sides"].get(where["domain"], [])
    return [position for position, found in enumerate(sides) if found == where["split"]]


def _rows(array: NDArray[Any], chosen: list[int]) -> NDArray[Any]:
    # Either way nothing is read here. A range is a memory map's own business.
    if chosen and chosen == list(range(chosen[0], chosen[-1] + 1)):
        return array[chosen[0] : chosen[-1] + 1]
    return Rows.of(array, chosen)


def _domain(name: str) -> Domain:
    return name  # type: ignore[return-value]


def _side(name: str) -> Split:
    return name  # type: ignore[return-value]
