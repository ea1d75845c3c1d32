"""What a row is about: images that are judged, and what their segmenter is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mtbench.data import Domain, Split, Task
from mtbench.hashing import canonical
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.registry.specs import Need, TranslatorSpec, two_sided
from mtbench.stages.table import SOURCE_TEST, FitOptions, Subset, TranslateOptions

Needs = tuple[Need, ...]
"""Of a metric; see ``MetricSpec.needs``."""
_SOURCE = Images("source test slices", SOURCE_TEST)


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
    """Images that are judged: those of a translator, or of a row by which the others are read.

    Attributes:
        role: "translator", "ceiling", "floor" or "oracle".
        images: the image set; the source test slices until a protocol says otherwise.
        wants: the metrics that say anything about it: those of a segmenter's labels ("segmentation"), those that look
            at real target images beside the candidates ("distances"), those that need no other image ("its own").
        training: of its segmenter.
        label: what a person calls it in a unit's name; the role by default.
        columns: the columns of the ``scores`` table that say which translator.
        fit: key of the translator's fit; empty without one.
        skipped: why it cannot be made.
    """

    role: str
    images: Images = _SOURCE
    wants: Literal["any", "segmentation", "distances", "its own"] = "any"
    training: Training = Training("target")
    label: str = ""
    columns: Mapping[str, Any] = field(
        default_factory=lambda: {"translator": "", "translator_params": "{}", "conditional": False, "seed": None}
    )
    fit: str = ""
    skipped: str = ""

    def judged_by(self, needs: Needs) -> bool:
        """Whether a metric with these needs says anything about it."""
        match self.wants:
            case "segmentation":
                return "predicted_masks" in needs
            case "distances":
                return two_sided(needs)
            case "its own":
                return not two_sided(needs) and "paired" not in needs
        return True

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


def ready_translators(builder: Builder, translator: Choice[TranslatorSpec]) -> Iterator[Subject]:
    """A translator, once for each of its seeds; the protocol says what is translated and judged."""
    spec, ask, params = translator.spec, translator.registration.ask, translator.params
    trains, conditional = ask(spec.whether, "trains", params), ask(spec.whether, "conditional", params)
    seeds: tuple[int | None, ...] = (None,)
    if (trains or ask(spec.whether, "stochastic", params)) and not spec.deterministic:
        seeds = translator.entry.seeds or builder.suite.seeds
    reason = ask(spec.refusal, builder.task)
    if conditional and "source" not in builder.task.masks:
        reason = "it needs masks of the source slices, which this dataset lacks"
    for seed in seeds:
        label = translator.label + (f" seed {seed}" if seed is not None else "")
        columns = {
            "translator": translator.entry.name,
            "translator_params": canonical(translator.changes),
            "conditional": conditional,
            "seed": seed,
        }
        fit = ""
        if trains and not reason:
            options = FitOptions(("source", "target"), masks=conditional or spec.trains_on_masks)
            fit = builder.fit(translator, label, seed, options)
        skipped = f"{translator.entry.name}: {reason}" if reason else ""
        yield Subject("translator", label=label, columns=columns, fit=fit, skipped=skipped)


def translate(
    builder: Builder, translator: Choice[TranslatorSpec], ready: Subject, where: Subset, called: str = ""
) -> str:
    """The key of the unit that translates the slices of ``where``; empty where the translator cannot take part."""
    if ready.skipped:
        return ""
    return builder.unit(
        "translate",
        f"translate {builder.short} {ready.label} {called}".strip(),
        TranslateOptions(where, ready.columns["conditional"]),
        choice=translator,
        seed=ready.columns["seed"],
        inputs={**builder.base, **({"fit": ready.fit} if ready.fit else {})},
    )
