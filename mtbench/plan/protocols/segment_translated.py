"""``segment-translated``, the paper's: source test slices are translated and judged among the target's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice
from mtbench.plan.subjects import Subject, Training, ready_translators, translate
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.table import SOURCE_TEST, TARGET_TEST, TARGET_TRAIN


def subjects(builder: Builder, translators: Sequence[Choice[TranslatorSpec]]) -> Iterator[Subject]:
    """The source test slices through every translator, and the rows without which no other can be read.

    Ceiling: real target test slices. Floor: real target training slices, against the test slices, at most
    at the N of the translated rows where the metric draws.
    Oracle: source test slices on a segmenter trained on the source domain.
    """
    for translator in translators:
        for ready in ready_translators(builder, translator):
            key = translate(builder, translator, ready, SOURCE_TEST)
            yield replace(ready, images=Images(ready.label, SOURCE_TEST, key))
    if builder.suite.references:
        yield Subject("ceiling", Images("target test slices", TARGET_TEST), "its own")
        yield Subject("floor", Images("target training slices", TARGET_TRAIN), "distances")
        yield Subject("oracle", wants="segmentation", training=Training("source"))
