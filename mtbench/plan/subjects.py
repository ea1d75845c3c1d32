"""What a row is about: images that are judged, and what their segmenter is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mtbench.data import Domain, Split, Task
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.registry.specs import Need, TranslatorSpec, two_sided
from mtbench.stages.table import FitOptions, Subset

Needs = tuple[Need, ...]
"""Of a metric; see ``MetricSpec.needs``."""


def anything(needs: Needs) -> bool:
    """Every metric."""
    return True


def segmentation(needs: Needs) -> bool:
    """Metrics of a segmenter's labels."""
    return "predicted_masks" in needs


def distances(needs: Needs) -> bool:
    """Metrics that look at real target images beside the candidates."""
    return two_sided(needs)


def of_its_own(needs: Needs) -> bool:
    """Metrics that need no image beside the candidates."""
    return not two_sided(needs) and "paired" not in needs


@dataclass(frozen=True)
class Training:
    """What a segmenter is trained on.

    Attributes:
        domain: whose training and validation slices, with their masks.
        label: what a person calls it; the domain by default.
        translations: the units that made the pixels, by split ("train", "validation"); none: the slices as they are.
    """

    domain: Domain
    label: str = ""
    translations: Mapping[Split, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """Images that are judged.

    Attributes:
        role: "translator", "ceiling", "floor" or "oracle".
        columns: the columns of the ``scores`` table that say which.
        label: what a person calls it in a unit's name.
        images: the image set.
        training: of its segmenter.
        fit: key of the translator's fit; empty without one.
        skipped: why it cannot be made.
        wants: whether a metric with these needs says anything about it.
    """

    role: str
    columns: Mapping[str, Any]
    label: str
    images: Images
    training: Training = Training("target")
    fit: str = ""
    skipped: str = ""
    wants: Callable[[Needs], bool] = anything

    def cannot(self, task: Task, needs: Needs) -> str:
        """Why a metric with these needs cannot be computed here; empty where it can."""
        if self.skipped:
            return self.skipped
        domain = self.images.where.domain
        if "predicted_masks" in needs and self.training.domain not in task.masks:
            return f"the {self.training.domain} domain has no masks to train a segmenter on"
        if "reference_masks" in needs and domain not in task.masks:
            return f"the {domain} domain has no masks to compare with"
        if "paired" in needs and not task.paired:
            return "the task has no paired truth"
        return ""


@dataclass(frozen=True)
class ReadyTranslator:
    """A translator with one of its seeds, ready to translate.

    Attributes:
        translator, seed: which.
        label: what a person calls it.
        columns: the columns of the ``scores`` table that say which.
        fit: key of its fit; empty without one.
        skipped: why it cannot take part.
    """

    translator: Choice[TranslatorSpec]
    seed: int | None
    label: str
    columns: Mapping[str, Any]
    fit: str = ""
    skipped: str = ""

    def translate(self, builder: Builder, where: Subset, called: str = "") -> str:
        """The key of the unit that translates the slices of ``where``."""
        label = f"{self.label} {called}".strip()
        return builder.translate(self.translator, label, self.seed, where, self.fit)


def ready_translators(builder: Builder, translator: Choice[TranslatorSpec]) -> Iterator[ReadyTranslator]:
    """A translator, once for each of its seeds."""
    spec = translator.spec
    seeds: tuple[int | None, ...] = (None,)
    if (translator.trains or translator.stochastic) and not spec.deterministic:
        seeds = translator.entry.seeds or builder.suite.seeds
    reason = translator.registration.ask(spec.refusal, builder.task)
    if translator.conditional and "source" not in builder.task.masks:
        reason = "it needs masks of the source slices, which this dataset lacks"
    for seed in seeds:
        label = translator.label + (f" seed {seed}" if seed is not None else "")
        columns = {
            "role": "translator",
            "translator": translator.entry.name,
            "translator_params": translator.changes,
            "conditional": translator.conditional,
            "seed": seed,
        }
        if reason:
            yield ReadyTranslator(translator, seed, label, columns, skipped=f"{translator.entry.name}: {reason}")
            continue
        fit = ""
        if translator.trains:
            options = FitOptions(("source", "target"), masks=translator.conditional or spec.trains_on_masks)
            fit = builder.fit(translator, label, seed, options)
        yield ReadyTranslator(translator, seed, label, columns, fit)


def reference(
    role: str, images: Images, wants: Callable[[Needs], bool], training: Training = Training("target")
) -> Subject:
    """A row by which the others are read."""
    columns = {"role": role, "translator": "", "translator_params": {}, "conditional": False, "seed": None}
    return Subject(role, columns, role, images, training, wants=wants)
