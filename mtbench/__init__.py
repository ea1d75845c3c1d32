"""mtbench: reproducible judgements of medical image translation.

What a plugin author needs is here; heavy names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtbench import startup  # noqa: F401
from mtbench.data import Batch, Cases, ImageSet, MetricInputs, Sample, Score, Slice, Task, TrainingData
from mtbench.errors import DataError, MtbenchError, PluginError, WeightsError
from mtbench.registry.hookspecs import hookimpl
from mtbench.registry.params import Param
from mtbench.registry.specs import (
    DatasetSpec,
    ExecutorSpec,
    ExporterSpec,
    ExtractorSpec,
    Features,
    MetricSpec,
    SegmenterSpec,
    SuiteSpec,
    TranslatorSpec,
)

if TYPE_CHECKING:
    from mtbench.compute.context import Context
    from mtbench.results.directory import load
    from mtbench.scoring import score
    from mtbench.translation import translate

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Cases",
    "Context",
    "DataError",
    "DatasetSpec",
    "ExecutorSpec",
    "ExporterSpec",
    "ExtractorSpec",
    "Features",
    "ImageSet",
    "MetricInputs",
    "MetricSpec",
    "MtbenchError",
    "Param",
    "PluginError",
    "Sample",
    "Score",
    "SegmenterSpec",
    "Slice",
    "SuiteSpec",
    "Task",
    "TrainingData",
    "TranslatorSpec",
    "WeightsError",
    "hookimpl",
    "load",
    "score",
    "translate",
]

_LAZY = {
    "Context": "mtbench.compute.context",
    "load": "mtbench.results.directory",
    "score": "mtbench.scoring",
    "translate": "mtbench.translation",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mtbench' has no attribute {name!r}")
