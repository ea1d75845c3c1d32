"""Score every metric at every level of every operator; scores are cached in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mtbench.data import ImageSet, MetricInputs
from mtbench.errors import DataError, MtbenchError, RequestError
from mtbench.hashing import hash_of
from mtbench.plan.subjects import but_several
from mtbench.registry.codeid import code_identity
from mtbench.registry.needs import Need, reads_side, two_sided
from mtbench.registry.params import format_call
from mtbench.registry.registry import Registration, Registry
from mtbench.registry.specs import ExtractorSpec, MetricSpec
from mtbench.scoring.features import FeatureSource, network_key
from mtbench.store.artefacts import Store, address_of
from mtbench.stress.material import Damaged, Facts, Material, damage, overlap, undamaged
from mtbench.stress.measure import Measurement, measure
from mtbench.stress.networks import FixedSegmenter
from mtbench.stress.operators import Operator, Series

REVISION = 1
"""Changed when the same request would give other numbers for another reason than an operator or a metric."""
_ROLES = ("candidate", "reference", "paired", "source", "predicted_masks", "reference_masks", "training")
_OF_TRUTH = frozenset({"paired", "source", "reference_masks", "predicted_masks"})
"""What only a data set with true translations supplies."""


@dataclass(frozen=True)
class MetricChoice:
    """A metric with its parameters."""

    registration: Registration[MetricSpec]
    params: Mapping[str, Any]
    needs: tuple[Need, ...]

    @property
    def spec(self) -> MetricSpec:
        """Its spec."""
        return self.registration.spec

    @property
    def name(self) -> str:
        """How tables call it: title and variant."""
        variant = self.registration.ask(self.spec.printed_variant, self.params)
        return (self.spec.title or self.spec.name) + (f"[{variant}]" if variant else "")

    @property
    def call(self) -> str:
        """How the user calls it."""
        schema = self.spec.params
        changed = {k: v for k, v in self.params.items() if schema[k].shown and v != schema[k].default}
        return format_call(self.spec.name, changed)

    @classmethod
    def of(cls, registry: Registry, call: str) -> MetricChoice:
        """The metric that ``NAME`` or ``NAME:p=v,...`` asks for.

        Raises:
            RequestError, ParamError: there is no such metric, or a parameter does not fit.
        """
        registration, params = registry.call(MetricSpec, call)
        complete = registration.complete(params)
        return cls(registration, complete, registration.ask(registration.spec.needs_for, complete))


@dataclass(frozen=True)
class Level:
    """One level of an operator: the facts of the damage, or the reason why there is none."""

    strength: float
    facts: Facts | None = None
    reason: str = ""


@dataclass(frozen=True)
class Outcome:
    """A metric at one level: its measurement, or the reason why there is none."""

    measurement: Measurement | None = None
    reason: str = ""


@dataclass
class Results:
    """All measurements of one call.

    Attributes:
        metrics: in the order of the request.
        series: the operators with their strengths.
        base: by metric, the measurement of the undamaged set.
        facts: by operator, its levels.
        outcomes: by metric and operator, one for each level; absent if the operator does not concern the metric.
        not_concerned: by metric and operator without outcomes, the reason.
        feature_seconds: by metric, seconds per image for its features; 0 if unknown.
        computed, reused: number of scored sets that this call computed, and that it read from the store.
        segmenter: Dice of the segmenter on undamaged images; ``None`` without one.
    """

    metrics: list[MetricChoice]
    series: list[Series]
    base: dict[str, Outcome] = field(default_factory=dict)
    facts: dict[str, list[Level]] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    not_concerned: dict[tuple[str, str], str] = field(default_factory=dict)
    feature_seconds: dict[str, float] = field(default_factory=dict)
    computed: int = 0
    reused: int = 0
    segmenter: float | None = None


@dataclass
class Bench:
    """Settings that all measurements share.

    Attributes:
        material: the undamaged sets.
        source: computes features.
        store: caches scores.
        segmenter: predicts masks; ``None`` without one.
        seed: of damage, halves and draws.
        intervals: whether to compute confidence intervals.
        weights: extractor name to a weight file to use instead.
        report: shows progress: activity, done, total.
    """

    material: Material
    source: FeatureSource
    store: Store
    segmenter: FixedSegmenter | None
    seed: int
    intervals: bool
    weights: Mapping[str, str]
    report: Callable[[str, int, int], None]
    _requests: dict[str, str] = field(default_factory=dict)

    def run(self, metrics: Sequence[MetricChoice], series: Sequence[Series]) -> Results:
        """Score all metrics on all levels; a metric that cannot be scored at a level leaves a hole there."""
        results = Results(list(metrics), list(series))
        total = 1 + sum(len(each.strengths) for each in series)
        clean = _Set(self, None, 0.0)
        results.segmenter = clean.facts().segmenter
        concerned = []
        for metric in metrics:
            results.base[metric.call] = outcome = self._outcome(metric, clean, results)
            if outcome.measurement is not None:
                concerned.append(metric)
                results.feature_seconds[metric.call] = self._feature_seconds(metric, clean)
        self.report("damaged sets", 1, total)
        done = 1
        for each in series:
            operator = each.operator
            results.facts[operator.name] = []
            affected = []
            for metric in concerned:
                if reason := self._spared(metric, operator):
                    results.not_concerned[metric.call, operator.name] = reason
                    continue
                affected.append(metric)
                results.outcomes[metric.call, operator.name] = []
            if not affected:
                done += len(each.strengths)
                continue
            for strength in each.strengths:
                damaged = _Set(self, operator, strength)
                results.facts[operator.name].append(damaged.level())
                for metric in affected:
                    outcome = self._outcome(metric, damaged, results)
                    results.outcomes[metric.call, operator.name].append(outcome)
                done += 1
                self.report("damaged sets", done, total)
        return results

    def _spared(self, metric: MetricChoice, operator: Operator) -> str:
        """Why an operator does not concern a metric here; empty if it does."""
        if operator.needs_masks and self.material.masks is None:
            return "The slices have no masks, so no structure can be damaged"
        if operator.family == "registration" and not {"paired", "reference_masks"} & set(_words(metric.needs)):
            return "The score reads no truth that could be moved"
        return ""

    def refusal(self, metric: MetricChoice) -> str:
        """Why a metric cannot be scored on this material; empty if it can."""
        words = list(_words(metric.needs))
        if unknown := [word for word in words if word not in _ROLES]:
            return f"it reads '{unknown[0]}', which stress does not supply"
        if not self.material.has_truth and _OF_TRUTH & set(words):
            return "it compares with the truth, its masks or its source, and the data set holds no true translations"
        if "source" in words and len(self.material.task.channels) > 1 and not metric.spec.several_channels:
            return "it reads one source channel" + but_several(self.material.task)
        if self.material.masks is None and "reference_masks" in words:
            return "it compares masks, and the source slices have none"
        if self.segmenter is None and "predicted_masks" in words:
            return "it compares masks that a segmenter predicts: name one with --segmenter"
        for need in metric.needs:
            if not isinstance(need, str) and network_key(need) not in self.source.trained:
                spec = self.source.registry.get(ExtractorSpec, need.extractor).spec
                if spec.of_segmenter:
                    names = "one" if self.segmenter is None else "one that offers them"
                    return f"'{spec.name}' reads features of a segmenter: name {names} with --segmenter"
        return ""

    def _outcome(self, metric: MetricChoice, images: _Set, results: Results) -> Outcome:
        if reason := self.refusal(metric):
            return Outcome(reason=reason)
        try:
            address = self._address(metric, images)
            record = read(self.store, address)
            if record is not None:
                results.reused += 1
                return Outcome(Measurement.from_json(record))
            inputs = self._inputs(metric, images)
            context = self.source.context(self.material.task, metric.params)
            with metric.registration.blaming("compute() failed"):
                measurement = measure(
                    metric.registration.create(metric.params),
                    metric.spec,
                    inputs,
                    context,
                    seed=self.seed,
                    base=images.operator is None,
                    intervals=self.intervals,
                )
        except MtbenchError as error:
            return Outcome(reason=str(error))
        write(self.store, address, measurement.to_json())
        results.computed += 1
        return Outcome(measurement)

    def _address(self, metric: MetricChoice, images: _Set) -> str:
        if metric.call not in self._requests:
            self._requests[metric.call] = self._request(metric)
        return address_of(self._requests[metric.call], {"images": images.identity, "seed": str(self.seed)})

    def _request(self, metric: MetricChoice) -> str:
        """The hash of all that decides a score of given images."""
        spec = metric.spec
        features = [
            [need.of, need.arrays, self.source.identity(need, self.weights)[0]]
            for need in metric.needs
            if not isinstance(need, str)
        ]
        plugin = [spec.name, spec.revision, code_identity(metric.registration)]
        params = {k: v for k, v in metric.params.items() if spec.params[k].identity}
        segmenter = self.segmenter.identity if self.segmenter and "predicted_masks" in metric.needs else ""
        return hash_of(["stress", REVISION, plugin, params, features, segmenter, self.intervals])

    def _inputs(self, metric: MetricChoice, images: _Set) -> MetricInputs:
        needs, content = metric.needs, images.content
        features: dict[str, dict[str, Any]] = {}
        for need in needs:
            if not isinstance(need, str):
                of, fingerprint = images.side(need.of)
                features.setdefault(need.of, {}).update(self.source.get(need, of, fingerprint, self.weights)[0])
        return MetricInputs(
            task=self.material.task,
            candidate=content.candidate,
            reference=self.material.reference if two_sided(needs) else None,
            paired=content.truth if "paired" in needs else None,
            source=self.material.source if "source" in needs else None,
            training=self.material.training if reads_side(needs, "training") else None,
            predicted_masks=images.predicted() if "predicted_masks" in needs else None,
            reference_masks=content.masks if "reference_masks" in needs else None,
            features=features,
        )

    def _feature_seconds(self, metric: MetricChoice, images: _Set) -> float:
        total = 0.0
        for need in metric.needs:
            if not isinstance(need, str) and need.of == "candidate":
                of, fingerprint = images.side(need.of)
                total += (self.source.seconds(need, fingerprint, self.weights) or 0.0) / len(of)
        return total


class _Set:
    """A damaged set, computed on first use."""

    def __init__(self, bench: Bench, operator: Operator | None, strength: float) -> None:
        self._bench = bench
        self._content: Damaged | None = None
        self._predicted: Any = None
        self.operator, self._strength = operator, strength
        asked = [operator.name, operator.revision, strength, bench.seed] if operator else []
        self.identity = hash_of([bench.material.identity, *asked])

    @property
    def content(self) -> Damaged:
        """The images.

        Raises:
            DataError: the operator cannot be applied.
        """
        if self._content is None:
            material = self._bench.material
            if self.operator is None:
                self._content = undamaged(material)
            else:
                self._content = damage(material, self.operator, self._strength, self._bench.seed)
        return self._content

    def side(self, name: str) -> tuple[ImageSet, str]:
        """The images of "candidate", "reference" or "training", and a name of their content."""
        material = self._bench.material
        if name != "candidate":
            images = material.reference if name == "reference" else material.training
            return images, hash_of([material.identity, name])
        return self.content.candidate, hash_of([self.identity, "candidate"])

    def predicted(self) -> Any:
        """The segmenter's masks."""
        assert self._bench.segmenter is not None
        if self._predicted is None:
            self._predicted = self._bench.segmenter.masks(self.content.candidate)
        return self._predicted

    def facts(self) -> Facts:
        """The facts of the damage.

        Raises:
            DataError: the operator cannot be applied.
        """
        segmenter = self._bench.segmenter
        request = hash_of(["stress-facts", REVISION, segmenter.identity if segmenter else ""])
        address = address_of(request, {"images": self.identity})
        record = read(self._bench.store, address)
        if record is not None:
            return Facts.from_json(record)
        facts = self.content.facts
        if segmenter is not None and self._bench.material.masks is not None:
            facts = replace(facts, segmenter=overlap(self.predicted(), self._bench.material.masks))
        write(self._bench.store, address, facts.to_json())
        return facts

    def level(self) -> Level:
        """The level of this set; with a reason if the operator cannot be applied."""
        try:
            return Level(self._strength, self.facts())
        except DataError as error:
            return Level(self._strength, reason=str(error))


def _words(needs: Sequence[Need]) -> Iterator[str]:
    return (need for need in needs if isinstance(need, str))


def read(store: Store, address: str) -> dict[str, Any] | None:
    """The record at an address of the store; ``None`` if it is absent or damaged."""
    artefact = store.whole("stress", address)
    if artefact is None:
        return None
    record: dict[str, Any] = json.loads((artefact.path / "record.json").read_text(encoding="utf-8"))
    return record


def write(store: Store, address: str, record: Mapping[str, Any]) -> None:
    """Keep a record in the store."""
    with store.create("stress", address, {"key": address, "stage": "stress", "inputs": {}}, {}) as folder:
        (folder / "record.json").write_text(json.dumps(record, sort_keys=True), encoding="utf-8")


def check_metrics(results: Results) -> None:
    """Refuse a request none of whose metrics could be scored.

    Raises:
        RequestError: with the reason of each.
    """
    if any(outcome.measurement for outcome in results.base.values()):
        return
    reasons = "; ".join(f"{metric.name}: {results.base[metric.call].reason}" for metric in results.metrics)
    raise RequestError(f"no metric can be scored on this data set ({reasons})")
