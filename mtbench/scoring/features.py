"""Features of image sets outside of a suite, kept in the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mtbench.compute.context import Context
from mtbench.compute.weights import find, sha256
from mtbench.data import ImageSet, Task
from mtbench.errors import RequestError
from mtbench.hashing import hash_of
from mtbench.paths import expand
from mtbench.registry.codeid import code_identity
from mtbench.registry.contracts import Extractor
from mtbench.registry.needs import Features
from mtbench.registry.registry import Registration, Registry
from mtbench.registry.specs import ExtractorSpec
from mtbench.scoring.reading import ProgressReport
from mtbench.stages.extract import extract
from mtbench.store.artefacts import Store, address_of


@dataclass(frozen=True)
class TrainedNetwork:
    """A feature network after its training.

    Attributes:
        extractor: the loaded plugin: an extractor, or a segmenter that offers features.
        identity: the hash of its fit and code.
    """

    extractor: Extractor
    identity: str


@dataclass(frozen=True)
class FeatureSource:
    """Features of image sets, from the store if they are cached.

    Attributes:
        trained: the networks that were trained before, by the name of their extractor and its explicit parameters; see
            :func:`network_key`.
    """

    registry: Registry
    store: Store
    device: str
    precision: str
    batch_size: int
    report: ProgressReport
    trained: Mapping[str, TrainedNetwork] = field(default_factory=dict)

    def context(self, task: Task, params: Mapping[str, Any], activity: str = "") -> Context:
        """The context of one extraction."""
        return Context(
            task=task,
            params=params,
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            find_weights=find,
            progress=lambda done, total, figures: self.report(activity, done, total),
        )

    def identity(self, need: Features, weights: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """The hash of all that decides the features of an image, and the sha256 of the weight files by name.

        Args:
            need: whose extractor with its parameters.
            weights: extractor name to a weight file that is used instead.

        Raises:
            RequestError: the extractor takes no weight file, or needs a training.
            WeightsError: weights are not installed.
        """
        registration, params = self._extractor(need, weights)
        spec = registration.spec
        weights_param = spec.param_for("weights")
        digests = {name: sha256(find(name)) for name in spec.weight_files(params)}
        identity = {name: value for name, value in params.items() if name != weights_param}
        if weights_param and params[weights_param]:
            digests[weights_param] = sha256(expand(params[weights_param]))
        code = code_identity(registration)
        parts = ["folder-features", spec.name, spec.revision, code, identity, digests, self.precision]
        network = self.trained.get(network_key(need))
        return hash_of(parts if network is None else [*parts, network.identity]), digests

    def get(
        self, need: Features, images: ImageSet, fingerprint: str, weights: Mapping[str, str]
    ) -> tuple[dict[str, Any], str, str]:
        """Arrays by name, the sha256 of the weights, and the extractor's caveat.

        Args:
            need, weights: as for :meth:`identity`.
            images: whose features.
            fingerprint: names the content of ``images``.
        """
        key, digests = self.identity(need, weights)
        registration, params = self._extractor(need, weights)
        spec = registration.spec
        address = address_of(key, {"images": fingerprint})
        artefact = self.store.whole("extract", address)
        if artefact is None:
            network = self.trained.get(network_key(need))
            plugin = registration.create(params) if network is None else network.extractor
            activity = f"{need.extractor} features of the {need.of} images"
            context = self.context(images.task, params, activity)
            manifest = {"key": key, "stage": "extract", "inputs": {"images": fingerprint}}
            info: dict[str, Any] = {}
            started = time.perf_counter()
            with self.store.create("extract", address, manifest, info) as target:
                extract(images, plugin, spec.arrays, context, target, f"extractor '{spec.name}'")
                info["seconds"] = time.perf_counter() - started
            artefact = self.store.get("extract", address)
            assert artefact is not None
        arrays = {
            name: np.load(artefact.path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in need.arrays
        }
        return arrays, ",".join(sorted(digests.values())), spec.caveat

    def seconds(self, need: Features, fingerprint: str, weights: Mapping[str, str]) -> float | None:
        """How long the features took that are in the store; ``None`` if that is unknown."""
        address = address_of(self.identity(need, weights)[0], {"images": fingerprint})
        artefact = self.store.get("extract", address)
        return artefact.info.get("seconds") if artefact is not None else None

    def _extractor(
        self, need: Features, weights: Mapping[str, str]
    ) -> tuple[Registration[ExtractorSpec], dict[str, Any]]:
        registration = self.registry.get(ExtractorSpec, need.extractor)
        if is_trained(registration.spec) and network_key(need) not in self.trained:
            raise RequestError(
                f"extractor '{need.extractor}' is trained on the target's training slices",
                remedy="Run the metric in a suite",
            )
        params = registration.complete(need.params)
        override = weights.get(need.extractor)
        if override:
            weights_param = registration.spec.param_for("weights")
            if weights_param is None:
                raise RequestError(f"extractor '{need.extractor}' takes no weight file", where="--weights")
            params[weights_param] = str(expand(override))
        return registration, params


def is_trained(spec: ExtractorSpec) -> bool:
    """Whether its network is trained on a task: its own, or a segmenter's."""
    return spec.trains or spec.of_segmenter


def network_key(need: Features) -> str:
    """The name of a network among ``FeatureSource.trained``."""
    return hash_of([need.extractor, dict(need.params)])
