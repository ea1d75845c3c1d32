"""``train-on-translated``, the reverse: a segmenter is trained on translated and tested on real target slices.

It tests whether translation can replace labels of the target domain. The segmenter reads no target masks: its training
and validation slices are translated source slices with the source's masks. A translator that trains on masks has read
those of the target training slices; its rows say so.
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
    """The target test slices with one segmenter per translator, and the ceiling: a target-trained segmenter.

    The row of ``identity`` is the baseline: a segmenter trained on untranslated source slices. Only segmentation
    metrics apply here.
    """
    test = Images("target test slices", TARGET_TEST)
    for translator in translators:
        for ready in ready_translators(builder, translator):
            translations = {
                split: translate(builder, translator, ready, Subset("source", split), f"{split} slices")
                for split in _LEARNT
            }
            training = Training("source", f"source slices by {ready.label}", translations)
            label = f"trained on {ready.label}"
            yield replace(ready, images=test, wants="segmentation", training=training, label=label)
    if builder.suite.references:
        yield Subject("ceiling", test, "segmentation")
