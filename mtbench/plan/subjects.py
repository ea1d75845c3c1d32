"""What a row is about: translated slices, or one of the reference rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mtbench.data import Task
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.specs import two_sided

SOURCE_TEST = {"domain": "source", "split": "test"}
TARGET_TEST = {"domain": "target", "split": "test"}
TARGET_TRAIN = {"domain": "target", "split": "train"}


@dataclass(frozen=True)
class Subject:
    """Images that are judged.

    Attributes:
        role: "translator", "ceiling", "floor" or "oracle".
        columns: the columns of the ``scores`` table that say which.
        label: what a person calls it in a unit's name.
        images: the image set.
        segmenter_domain: where its segmenter was trained.
        fit: key of the translator's fit; empty without one.
        skipped: why it cannot be made.
    """

    role: str
    columns: Mapping[str, Any]
    label: str
    images: Images
    segmenter_domain: str = "target"
    fit: str = ""
    skipped: str = ""

    def wants(self, needs: tuple[Any, ...]) -> bool:
        """Whether a metric with these needs says anything about this subject."""
        if self.role == "ceiling":
            return not two_sided(needs) and "paired" not in needs
        if self.role == "floor":
            return two_sided(needs)
        if self.role == "oracle":
            return "predicted_masks" in needs
        return True

    def cannot(self, task: Task, needs: tuple[Any, ...]) -> str:
        """Why a metric with these needs cannot be computed here; empty where it can."""
        if self.skipped:
            return self.skipped
        domain = self.images.where["domain"]
        if "predicted_masks" in needs and self.segmenter_domain not in task.masks:
            return f"the {self.segmenter_domain} domain has no masks to train a segmenter on"
        if "reference_masks" in needs and domain not in task.masks:
            return f"the {domain} domain has no masks to compare with"
        if "paired" in needs and not task.paired:
            return "the task has no paired truth"
        return ""


def translated(builder: Builder, translator: Choice) -> Iterator[Subject]:
    """The source test slices through a translator, once for each of its seeds."""
    spec = translator.spec
    seeds: tuple[int | None, ...] = (None,)
    if (translator.trains or spec.stochastic) and not spec.deterministic:
        seeds = translator.entry.seeds or builder.suite.seeds
    reason = translator.ask(spec.supports, builder.task) if spec.supports else None
    if spec.conditional and "source" not in builder.task.masks:
        reason = "it needs masks of the source slices, which this dataset lacks"
    for seed in seeds:
        label = translator.label + (f" seed {seed}" if seed is not None else "")
        columns = {
            "role": "translator",
            "translator": translator.entry.name,
            "translator_params": translator.changed,
            "conditional": spec.conditional,
            "seed": seed,
        }
        if reason:
            skipped = f"{translator.entry.name}: {reason}"
            yield Subject("translator", columns, label, Images(label, SOURCE_TEST), skipped=skipped)
            continue
        fit = builder.fit(translator, label, seed, ["source", "target"]) if translator.trains else ""
        key = builder.translate(translator, label, seed, SOURCE_TEST, fit)
        yield Subject("translator", columns, label, Images(label, SOURCE_TEST, key), fit=fit)


def references() -> Iterator[Subject]:
    """The rows without which no other can be read.

    Ceiling: real target test slices. Floor: real target training slices, against the test slices, at the same N.
    Oracle: source test slices on a segmenter trained on the source domain.
    """
    for role, images, domain in (
        ("ceiling", Images("target test slices", TARGET_TEST), "target"),
        ("floor", Images("target training slices", TARGET_TRAIN), "target"),
        ("oracle", Images("source test slices", SOURCE_TEST), "source"),
    ):
        columns = {"role": role, "translator": "", "translator_params": {}, "conditional": False, "seed": None}
        yield Subject(role, columns, role, images, segmenter_domain=domain)
