"""The subject of a row: the images to evaluate, and the training data of their segmenter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mtbench.data import Domain, Split, Task
from mtbench.errors import SuiteError
from mtbench.hashing import canonical
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.registry.needs import Need, two_sided
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.table import SOURCE_TEST, TARGET_TEST, FitOptions, Subset, TranslateOptions

Needs = tuple[Need, ...]
"""The needs of a metric; see ``MetricSpec.needs``."""
_SOURCE = Images("source test slices", SOURCE_TEST)


@dataclass(frozen=True)
class Training:
    """The training data of a segmenter.

    Attributes:
        domain: the domain of the training and validation slices, with their masks.
        label: its printed name; the domain by default.
        translations: the units that compute the pixels, by split ("train", "validation"); empty for real slices.
    """

    domain: Domain
    label: str = ""
    translations: Mapping[Split, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """Images to evaluate: those of a translator or of a reference row.

    Attributes:
        role: "translator", "truth", "ceiling", "floor" or "oracle".
        images: the image set; the source test slices by default.
        wants: the metrics that apply: those that read a segmenter's labels ("segmentation"), those that also read
            real target images ("distances"), those that need no other images ("its own"), those that do not read the
            ground truth ("unpaired").
        reference: the real target slices that metrics compare it with.
        training: the training data of its segmenter.
        label: its printed name in the name of a unit; the role by default.
        columns: the columns of the ``scores`` table that identify the translator.
        fit: key of the translator's fit; empty without one.
        skipped: why it cannot be computed.
    """

    role: str
    images: Images = _SOURCE
    wants: Literal["any", "segmentation", "distances", "its own", "unpaired"] = "any"
    reference: Subset = TARGET_TEST
    training: Training = Training("target")
    label: str = ""
    columns: Mapping[str, Any] = field(
        default_factory=lambda: {"translator": "", "translator_params": "{}", "conditional": False, "seed": None}
    )
    fit: str = ""
    skipped: str = ""

    def judged_by(self, needs: Needs) -> bool:
        """Whether a metric with these needs applies."""
        match self.wants:
            case "segmentation":
                return "predicted_masks" in needs
            case "distances":
                return two_sided(needs)
            case "its own":
                return not two_sided(needs) and not {"paired", "source", "training"}.intersection(
                    need if isinstance(need, str) else need.of for need in needs
                )
            case "unpaired":
                return "paired" not in needs
        return True

    def cannot(self, task: Task, needs: Needs) -> str:
        """Why a metric with these needs cannot be computed; empty if it can."""
        if self.skipped:
            return self.skipped
        domain = self.images.where.domain
        if "predicted_masks" in needs and self.training.domain not in task.masks:
            return f"the {self.training.domain} domain has no masks to train a segmenter on"
        # A ground truth shows the anatomy of its source slice.
        if "reference_masks" in needs and not {domain, "source" if domain == "paired" else domain} & task.masks:
            return f"the {domain} domain has no masks to compare with"
        if "source" in needs and domain == "target":
            return f"{self.images.label} are translations of no source slice"
        if "predicted_masks" in needs and domain == "source" and not self.images.key and len(task.channels) > 1:
            return "segmenters read one channel" + but_several(task)
        if "paired" in needs and not task.paired:
            return "the task has no paired ground truth"
        return ""


def but_several(task: Task) -> str:
    """The end of a reason why something that reads one source channel is skipped."""
    return f", and this task has {len(task.channels)} ({', '.join(task.channels)})"


def ready_translators(builder: Builder, translator: Choice[TranslatorSpec]) -> Iterator[Subject]:
    """A translator, once per seed; the protocol decides what is translated and evaluated."""
    spec, ask, params = translator.spec, translator.registration.ask, translator.params
    trains, conditional = ask(spec.whether, "trains", params), ask(spec.whether, "conditional", params)
    seeds: tuple[int | None, ...] = (None,)
    if (trains or ask(spec.whether, "stochastic", params)) and not spec.deterministic:
        seeds = translator.entry.seeds or builder.suite.seeds
    reason = ask(spec.refusal, builder.task)
    if len(builder.task.channels) > 1 and not spec.several_channels:
        reason = "it translates one source channel" + but_several(builder.task)
    paired = trains and spec.paired
    if paired and not builder.task.paired_training:
        reason = "it trains on pairs, and this data set has no paired training slices"
    elif paired and builder.paired_fraction == 0:
        reason = "it trains on pairs, and paired_fraction = 0 leaves none"
    if conditional and "source" not in builder.task.masks:
        reason = "it needs masks of the source slices, and this dataset has none"
    _check_training(translator, trains=trains)
    fewer = {"target_patients": translator.entry.target_patients} if translator.entry.target_patients else {}
    for seed in seeds:
        label = translator.label + (f" seed {seed}" if seed is not None else "")
        label += f" on {builder.paired_fraction:g} of the pairs" if paired and builder.paired_fraction < 1 else ""
        label += f" with {translator.entry.target_patients} target patients" if fewer else ""
        columns = {
            "translator": translator.entry.name,
            "translator_params": canonical({**translator.changes, **fewer}),
            "conditional": conditional,
            "seed": seed,
        }
        fit = ""
        if trains and not reason:
            domains: tuple[Domain, ...] = ("source", "paired" if paired else "target")
            masks = conditional or spec.trains_on_masks
            # Translators that read no pairs have the same fit at every fraction.
            fraction = builder.paired_fraction if paired else 1.0
            options = FitOptions(domains, masks, translator.entry.keep, fraction, **fewer)
            fit = builder.fit(translator, label, seed, options)
        skipped = f"{translator.entry.name}: {reason}" if reason else ""
        yield Subject("translator", label=label, columns=columns, fit=fit, skipped=skipped)


def _check_training(translator: Choice[TranslatorSpec], *, trains: bool) -> None:
    """Refuse what an entry asks of a training that the translator does not have."""
    entry = translator.entry
    if entry.keep > 1 and not (trains and translator.spec.keeps_checkpoints):
        why = "keeps no checkpoints along the way" if trains else "does not train"
        raise SuiteError(
            f"keep = {entry.keep}, but translator '{entry.name}' {why}",
            where=entry.where,
            expected="a translator that trains, whose plugin declares keeps_checkpoints=True",
            remedy="Remove `keep` from this entry",
        )
    if entry.target_patients and not trains:
        raise SuiteError(
            f"target_patients = {entry.target_patients}, but translator '{entry.name}' does not train",
            where=entry.where,
            expected="a translator that trains",
            remedy="Remove `target_patients` from this entry",
        )
    if entry.target_patients and "target_patients" in translator.spec.params:
        raise SuiteError(
            f"'target_patients' is also a parameter of the plugin of translator '{entry.name}'",
            where=entry.where,
            remedy="Set `params.target_patients` only: rows cannot show both",
        )


def translate(
    builder: Builder,
    translator: Choice[TranslatorSpec],
    ready: Subject,
    where: Subset,
    called: str = "",
    part: int = 1,
) -> str:
    """The key of the unit that translates the slices of ``where``; empty if the translator cannot take part.

    It uses the weights after 1/``part`` of the training.
    """
    if ready.skipped:
        return ""
    return builder.unit(
        "translate",
        f"translate {builder.short} {ready.label} {called}".strip(),
        TranslateOptions(where, ready.columns["conditional"], part),
        choice=translator,
        seed=ready.columns["seed"],
        inputs={**builder.base, **({"fit": ready.fit} if ready.fit else {})},
    )
