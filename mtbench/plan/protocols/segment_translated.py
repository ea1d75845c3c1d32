"""``segment-translated``, the paper's protocol: source test slices are translated and compared with target slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mtbench.plan.builder import Builder, Images
from mtbench.plan.checkpoints import over_training
from mtbench.plan.choices import Choice
from mtbench.plan.subjects import Subject, Training, ready_translators, translate
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.table import PAIRED_TEST, SOURCE_TEST, TARGET_TEST, TARGET_TRAIN


def subjects(builder: Builder, translators: Sequence[Choice[TranslatorSpec]]) -> Iterator[Subject]:
    """The source test slices translated by every translator, and the reference rows.

    Truth (paired tasks): the ground truth of the same source test slices. Ceiling: real target test slices. Floor: real
    target training slices against the test slices, with at most the N of the translated rows if the metric draws.
    Oracle: source test slices with a source-trained segmenter.
    """
    for translator in translators:
        for ready in ready_translators(builder, translator):
            key = translate(builder, translator, ready, SOURCE_TEST)
            yield replace(ready, images=Images(ready.label, SOURCE_TEST, key))
            if builder.suite.keeps:
                yield from over_training(builder, translator, ready)
    if builder.suite.references and builder.task.paired:
        yield Subject("truth", Images("true target images of source test slices", PAIRED_TEST), "unpaired")
    if builder.suite.references:
        yield Subject("ceiling", Images("target test slices", TARGET_TEST), "its own")
        yield Subject("floor", Images("target training slices", TARGET_TRAIN), "distances")
        yield Subject("oracle", wants="segmentation", training=Training("source"))
