"""The segmenter of damaged images: fitted on real target slices, as in a run, and fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtbench.compute.context import Context
from mtbench.data import ImageSet
from mtbench.engine.maker import Maker
from mtbench.engine.scheduler import Watcher
from mtbench.errors import DataError
from mtbench.plan.choices import choices
from mtbench.plan.suite import Entry
from mtbench.preparation.request import PreparedDataset, make_unit
from mtbench.registry.contracts import Segmenter
from mtbench.registry.registry import Registry
from mtbench.registry.specs import SegmenterSpec
from mtbench.stages.segment import segment
from mtbench.stages.table import FitOptions
from mtbench.store.artefacts import Store
from mtbench.stress.pixels import Labels


@dataclass(frozen=True)
class FixedSegmenter:
    """A fitted segmenter.

    Attributes:
        label: its name and parameters.
        identity: the digest of its fit.
        segmenter, context: the loaded plugin and its context.
        blame: the plugin, for messages.
    """

    label: str
    identity: str
    segmenter: Segmenter
    context: Context
    blame: str

    def masks(self, images: ImageSet) -> Labels:
        """Its labels, N x H x W."""
        return np.concatenate(list(segment(self.segmenter, images, self.context, self.blame)))


def fitted(
    prepared: PreparedDataset, call: str, registry: Registry, store: Store, watcher: Watcher, device: str, seed: int = 0
) -> FixedSegmenter:
    """A segmenter fitted on the target's training slices; the fit of a run is reused, and this one by runs.

    Args:
        prepared: the data set.
        call: ``NAME`` or ``NAME:p=v,...``.
        registry, store, watcher, device: plugins, artefacts, progress and device.
        seed: of the fit.

    Raises:
        DataError: the target has no masks, or the fit failed.
    """
    builder = prepared.request.builder
    if "target" not in builder.task.masks:
        raise DataError("its target slices have no masks", where=f"dataset '{prepared.request.name}'")
    entry = Entry.of(call, f"'{call}'", typed=True)
    choice = choices(SegmenterSpec, (entry,), builder.suite, registry)[0]
    key = builder.fit(choice, f"{choice.label} on target", seed, FitOptions(("target",), masks=True))
    maker = Maker(builder.plan, registry, store, read_here=("prepare", "split", "fit"), note=watcher.note)
    try:
        for each in (*builder.base.values(), key):
            artefact, _, trouble = make_unit(maker, registry, watcher, builder.plan.units[each], device=device)
            if artefact is None:
                raise DataError(trouble, where=f"segmenter '{choice.label}'")
    finally:
        maker.close()
    assert artefact is not None
    segmenter = choice.registration.create({**choice.params, **choice.paths})
    segmenter.load(artefact.path)
    context = Context(task=builder.task, params=choice.params, device=device)
    return FixedSegmenter(choice.label, artefact.digest, segmenter, context, choice.registration.blame)
