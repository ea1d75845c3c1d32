"""Rows of the checkpoints along a training, and of all checkpoints on validation patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mtbench.compute.kept import kept_parts
from mtbench.data import Split
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.plan.subjects import Subject, translate
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.table import Subset

_SPLITS: tuple[Split, ...] = ("test", "validation")


def over_training(builder: Builder, translator: Choice[TranslatorSpec], ready: Subject) -> Iterator[Subject]:
    """A translator's checkpoints on test slices, and all of them, the final one included, on validation slices.

    The final checkpoint on test slices is the translator's ordinary row and is not among them. On validation slices,
    metrics compare with the target's validation slices, and the segmenters are the same.
    """
    for part in (*(kept_parts(translator.entry.keep) if ready.fit else ()), 1):
        for split in _SPLITS:
            if (part, split) == (1, "test"):
                continue
            where = Subset("source", split)
            at = f"at 1/{part} of training" if part > 1 else ""
            called = " ".join(filter(None, (at, f"{split} slices" if split != "test" else "")))
            columns = dict(ready.columns)
            if part > 1:
                columns["checkpoint"] = f"1/{part}"
            if split != "test":
                columns["scored_on"] = split
            label = f"{ready.label} {called}"
            key = translate(builder, translator, ready, where, called, part)
            yield replace(
                ready,
                images=Images(label, where, key),
                reference=Subset("target", split),
                label=label,
                columns=columns,
            )
