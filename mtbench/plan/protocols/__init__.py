"""Protocols assign image sets to roles; one small file each, over the same graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from mtbench.plan.builder import Builder
from mtbench.plan.choices import Choice
from mtbench.plan.protocols import segment_translated, train_on_translated
from mtbench.plan.subjects import Subject
from mtbench.registry.specs import TranslatorSpec

Protocol = Callable[[Builder, Sequence[Choice[TranslatorSpec]]], Iterator[Subject]]
"""From a dataset's builder and the translators to the subjects to evaluate, reference rows included."""

PROTOCOLS: Mapping[str, Protocol] = {
    "segment-translated": segment_translated.subjects,
    "train-on-translated": train_on_translated.subjects,
}
"""The protocols by their names in suites and tables, which are those of ``mtbench.plan.suite.PROTOCOLS``."""
