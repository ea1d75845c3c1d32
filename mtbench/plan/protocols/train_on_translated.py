"""``train-on-translated``, the reverse: a segmenter learns from translated slices and is tested on real target slices.

It asks whether translation can stand in for labels of the target domain. The segmenter sees no target mask: its
training and validation slices are source slices, translated, with the source's masks. A translator that trains on masks
has seen those of the target's training slices; its rows say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mtbench.data import Split
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.plan.subjects import Subject, Training, ready_translators, translate
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.table import TARGET_TEST, Subset

_LEARNT: tuple[Split, ...] = ("train", "validation")


def subjects(builder: Builder, translators: Sequence[Choice[TranslatorSpec]]) -> Iterator[Subject]:
    """The target test slices, on a segmenter for every translator; and the ceiling, one trained on target slices.

    What no translation gives is the row of ``identity``: a segmenter trained on source slices as they are. Only
    metrics of segmentation say anything here.
    """
    test = Images("target test slices", TARGET_TEST)
    for translator in translators:
        for ready in ready_translators(builder, translator):
            translations = {
                split: translate(builder, translator, ready, Subset("source", split), f"{split} slices")
                for split in _LEARNT
            }
            training = Training("source", f"source slices by {ready.label}", translations)
            label = f"learnt from {ready.label}"
            yield replace(ready, images=test, wants="segmentation", training=training, label=label)
    if builder.suite.references:
        yield Subject("ceiling", test, "segmentation")
