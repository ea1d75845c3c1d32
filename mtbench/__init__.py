"""mtbench: reproducible judgements of medical image translation.

What a plugin author and a notebook need is here; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mtbench import startup  # noqa: F401

if TYPE_CHECKING:
    from mtbench.api import run
    from mtbench.challenges.records import CaseScores, ChallengeCase, Inspection, Ranking, Standing, Submission, Team
    from mtbench.compute.context import Context
    from mtbench.data import Batch, Cases, ImageSet, MetricInputs, Sample, Score, Slice, Task, TrainingData
    from mtbench.errors import DataError, MtbenchError, PluginError, WeightsError
    from mtbench.registry.challenges import ChallengeMetric, ChallengeSpec
    from mtbench.registry.hookspecs import hookimpl
    from mtbench.registry.needs import Features
    from mtbench.registry.params import Param
    from mtbench.registry.specs import (
        DatasetSpec,
        ExecutorSpec,
        ExporterSpec,
        ExtractorSpec,
        MetricSpec,
        SegmenterSpec,
        SuiteSpec,
        TranslatorSpec,
    )
    from mtbench.results.directory import load
    from mtbench.scoring import score
    from mtbench.translation import translate

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CaseScores",
    "Cases",
    "ChallengeCase",
    "ChallengeMetric",
    "ChallengeSpec",
    "Context",
    "DataError",
    "DatasetSpec",
    "ExecutorSpec",
    "ExporterSpec",
    "ExtractorSpec",
    "Features",
    "ImageSet",
    "Inspection",
    "MetricInputs",
    "MetricSpec",
    "MtbenchError",
    "Param",
    "PluginError",
    "Ranking",
    "Sample",
    "Score",
    "SegmenterSpec",
    "Slice",
    "Standing",
    "Submission",
    "SuiteSpec",
    "Task",
    "Team",
    "TrainingData",
    "TranslatorSpec",
    "WeightsError",
    "hookimpl",
    "load",
    "run",
    "score",
    "translate",
]

_HOMES = {
    "mtbench.api": ("run",),
    "mtbench.challenges.records": (
        *("CaseScores", "ChallengeCase", "Inspection", "Ranking", "Standing", "Submission", "Team"),
    ),
    "mtbench.compute.context": ("Context",),
    "mtbench.data": ("Batch", "Cases", "ImageSet", "MetricInputs", "Sample", "Score", "Slice", "Task", "TrainingData"),
    "mtbench.errors": ("DataError", "MtbenchError", "PluginError", "WeightsError"),
    "mtbench.registry.hookspecs": ("hookimpl",),
    "mtbench.registry.params": ("Param",),
    "mtbench.registry.challenges": ("ChallengeMetric",),
    "mtbench.registry.needs": ("Features",),
    "mtbench.registry.specs": tuple(name for name in __all__ if name.endswith("Spec")),
    "mtbench.results.directory": ("load",),
    "mtbench.scoring": ("score",),
    "mtbench.translation": ("translate",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # so that a type checker still finds a misspelt name

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'mtbench' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
