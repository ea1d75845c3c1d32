"""The input of a stage, and the reading of image sets from artefacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Domain, ImageSet, Task
from mtbench.errors import DataError
from mtbench.registry.registry import Registration
from mtbench.rows import Rows
from mtbench.stages.table import Options, Subset
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact
from mtbench.store.images import read_slices

if TYPE_CHECKING:
    from mtbench.compute.context import Context


OptionsT = TypeVar("OptionsT", bound=Options)
RegistrationT = TypeVar("RegistrationT", bound=Registration[Any] | None)


@dataclass
class Work(Generic[OptionsT, RegistrationT]):
    """One running unit.

    Attributes:
        unit: the unit.
        options: the unit's options, of the stage's own class.
        inputs: artefacts by role.
        registration: the plugin with its spec; ``None`` for a stage without a plugin.
        context: the context of the plugin.
        strict: whether to reject a data set with unusable cases.
    """

    unit: Unit
    options: OptionsT
    inputs: Mapping[str, Artefact]
    registration: RegistrationT
    context: Context
    strict: bool = False

    def images(self, subset: Subset, role: str = "") -> ImageSet:
        """The slices of a subset; their pixels come from the input with role ``role`` if there is one."""
        real = read_set(self.inputs["data"], self.inputs["split"], self.unit.task, subset)
        if not role or role not in self.inputs:
            return real
        pixels = np.load(self.inputs[role].path / "images.npy", mmap_mode="r", allow_pickle=False)
        if len(pixels) != len(real):
            raise DataError(f"{len(pixels)} translated images for {len(real)} source slices", where=self.unit.name)
        return ImageSet(pixels, real.slices, real.masks, real.task, real.domain, real.split)


def read_set(data: Artefact, split: Artefact, task: Task, subset: Subset) -> ImageSet:
    """The slices of ``subset``."""
    domain = subset.domain
    indices = positions(split, subset)
    slices = read_slices(data.path, domain)
    images, masks = arrays(data, domain)
    return ImageSet(
        images=Rows.of(images, indices),
        slices=tuple(slices[i] for i in indices),
        masks=None if masks is None else Rows.of(masks, indices),
        task=task,
        domain=domain,
        split=subset.split,
    )


def arrays(data: Artefact, domain: Domain) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """All prepared images of a domain and their masks, if any: memory maps, N x H x W.

    Source images of several channels are N x C x H x W.
    """
    images = np.load(data.path / f"images-{domain}.npy", mmap_mode="r", allow_pickle=False)
    masks = data.path / f"masks-{domain}.npy"
    return images, np.load(masks, mmap_mode="r", allow_pickle=False) if masks.exists() else None


def positions(split: Artefact, subset: Subset) -> list[int]:
    """Which of the prepared images of the subset's domain are in its split."""
    splits = json.loads((split.path / "split.json").read_text())["sides"].get(subset.domain, [])
    return [position for position, split_of in enumerate(splits) if split_of == subset.split]
