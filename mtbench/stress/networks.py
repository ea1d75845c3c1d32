"""The segmenter of damaged images, and feature networks that are trained: fitted as in a run, and fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtbench.compute.context import Context
from mtbench.data import ImageSet
from mtbench.engine.maker import Maker
from mtbench.engine.scheduler import Watcher
from mtbench.errors import DataError
from mtbench.plan.choices import Choice, choices
from mtbench.plan.suite import Entry
from mtbench.preparation.request import PreparedDataset, make_unit
from mtbench.registry.contracts import Extractor, Segmenter, Trainable
from mtbench.registry.needs import Features
from mtbench.registry.registry import Registry
from mtbench.registry.specs import ExtractorSpec, SegmenterSpec
from mtbench.scoring.features import TrainedNetwork, network_key
from mtbench.stages.segment import segment
from mtbench.store.artefacts import Artefact, Store
from mtbench.stress.pixels import Labels


@dataclass(frozen=True)
class FixedSegmenter:
    """A fitted segmenter.

    Attributes:
        label: its name and parameters.
        identity: the digest of its fit.
        segmenter, context: the loaded plugin and its context.
        blame: the plugin, for messages.
        arrays: of its own features; empty if it offers none.
    """

    label: str
    identity: str
    segmenter: Segmenter
    context: Context
    blame: str
    arrays: tuple[str, ...] = ()

    def masks(self, images: ImageSet) -> Labels:
        """Its labels, N x H x W."""
        return np.concatenate(list(segment(self.segmenter, images, self.context, self.blame)))


@dataclass(frozen=True)
class Fitter:
    """Fits networks on the target slices of a data set; fits of runs are reused, and these by runs.

    Attributes:
        prepared: the data set.
        registry, store, watcher, device: plugins, artefacts, progress and device.
        seed: of the fits; the default of suites.
    """

    prepared: PreparedDataset
    registry: Registry
    store: Store
    watcher: Watcher
    device: str
    seed: int = 0

    def segmenter(self, call: str) -> FixedSegmenter:
        """The segmenter of ``NAME`` or ``NAME:p=v,...``.

        Raises:
            DataError: the target has no masks, or the fit failed.
        """
        builder = self.prepared.request.builder
        if "target" not in builder.task.masks:
            raise DataError("its target slices have no masks", where=f"dataset '{self.prepared.request.name}'")
        choice = choices(SegmenterSpec, (Entry.of(call, f"'{call}'", typed=True),), builder.suite, self.registry)[0]
        artefact = self._fit(choice)
        segmenter = choice.registration.create({**choice.params, **choice.paths})
        segmenter.load(artefact.path)
        context = Context(task=builder.task, params=choice.params, device=self.device)
        registration = choice.registration
        return FixedSegmenter(
            choice.label, artefact.digest, segmenter, context, registration.blame, registration.spec.arrays
        )

    def extractor(self, need: Features) -> TrainedNetwork:
        """The trained network of an extractor.

        Raises:
            DataError: the fit failed.
        """
        entry = Entry(need.extractor, need.extractor, need.params)
        choice = choices(ExtractorSpec, (entry,), self.prepared.request.builder.suite, self.registry)[0]
        artefact = self._fit(choice)
        extractor = choice.registration.create({**choice.params, **choice.paths})
        assert isinstance(extractor, Trainable)  # by the requirements of its spec
        extractor.load(artefact.path)
        return TrainedNetwork(extractor, artefact.digest)

    def _fit(self, choice: Choice[SegmenterSpec] | Choice[ExtractorSpec]) -> Artefact:
        builder = self.prepared.request.builder
        key = builder.fit_on_target(choice, choice.label, self.seed)
        read_here = ("prepare", "split", "fit")
        maker = Maker(builder.plan, self.registry, self.store, read_here=read_here, note=self.watcher.note)
        try:
            for each in (*builder.base.values(), key):
                unit = builder.plan.units[each]
                artefact, _, trouble = make_unit(maker, self.registry, self.watcher, unit, device=self.device)
                if artefact is None:
                    raise DataError(trouble, where=f"{choice.spec.kind} '{choice.label}'")
        finally:
            maker.close()
        assert artefact is not None
        return artefact


def trained_networks(
    needs: Sequence[Features], fitter: Fitter, segmenter: FixedSegmenter | None
) -> dict[str, TrainedNetwork]:
    """The networks of ``needs`` that are trained, each once; features of a segmenter only if there is one."""
    networks: dict[str, TrainedNetwork] = {}
    for need in needs:
        spec = fitter.registry.get(ExtractorSpec, need.extractor).spec
        if network_key(need) in networks:
            continue
        if spec.trains:
            networks[network_key(need)] = fitter.extractor(need)
        elif spec.of_segmenter and segmenter is not None and set(spec.arrays) <= set(segmenter.arrays):
            assert isinstance(segmenter.segmenter, Extractor)  # by the requirements of its spec
            networks[network_key(need)] = TrainedNetwork(segmenter.segmenter, segmenter.identity)
    return networks
