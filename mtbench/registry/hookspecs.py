"""The hooks that a plugin may implement; all are optional."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import pyarrow as pa

    from mtbench.engine.job import Outcome
    from mtbench.registry.challenges import ChallengeSpec
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
    from mtbench.stages.unit import Unit

hookspec = pluggy.HookspecMarker("mtbench")
hookimpl = pluggy.HookimplMarker("mtbench")


@hookspec
def mtbench_translators() -> Iterable[TranslatorSpec]:  # type: ignore[empty-body]
    """Yield translators: ``yield mtbench.TranslatorSpec("gamma", "my_pkg.model:Gamma", params={"gamma": 0.8})``."""


@hookspec
def mtbench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Yield datasets: ``yield mtbench.DatasetSpec("knees", "my_pkg.knees:Knees", labels={1: "femur"})``."""


@hookspec
def mtbench_segmenters() -> Iterable[SegmenterSpec]:  # type: ignore[empty-body]
    """Yield segmenters: ``yield mtbench.SegmenterSpec("nnunet", "my_pkg.seg:NnUNet", params={"epochs": 100})``."""


@hookspec
def mtbench_extractors() -> Iterable[ExtractorSpec]:  # type: ignore[empty-body]
    """Yield feature networks: ``yield mtbench.ExtractorSpec("radimagenet", "my_pkg.net:Net", arrays=("pool",))``."""


@hookspec
def mtbench_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Yield metrics: ``yield mtbench.MetricSpec("mean", "my_pkg.m:Mean", title="Mean", needs=("candidate",))``."""


@hookspec
def mtbench_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """Yield executors: ``yield mtbench.ExecutorSpec("cluster", "my_pkg.cluster:Executor")``."""


@hookspec
def mtbench_exporters() -> Iterable[ExporterSpec]:  # type: ignore[empty-body]
    """Yield table formats: ``yield mtbench.ExporterSpec("rst", "my_pkg.rst:Rst", ending=".rst")``."""


@hookspec
def mtbench_challenges() -> Iterable[ChallengeSpec]:  # type: ignore[empty-body]
    """Yield challenges: ``yield mtbench.ChallengeSpec("mychallenge", "my_pkg.rules:Rules", metrics=(...))``."""


@hookspec
def mtbench_suites() -> Iterable[SuiteSpec]:  # type: ignore[empty-body]
    """Yield suite files: ``yield mtbench.SuiteSpec("my-suite", "my_pkg:suites/my-suite.toml")``."""


@hookspec
def mtbench_unit_finished(unit: Unit, outcome: Outcome) -> None:
    """Called in the process of ``mtbench run`` after each unit, with copies of its description and outcome.

    Every observer is called. An exception is shown once, logged in ``observers.log`` of the results, and does not
    affect the run; only ``KeyboardInterrupt`` ends the run, as Ctrl-C does.
    """


@hookspec
def mtbench_suite_finished(tables: Mapping[str, pa.Table]) -> None:
    """Called once at the end with the tables ``scores``, ``attempts`` and ``cases``; errors as in the hook above."""


SPEC_HOOKS: Mapping[str, str] = {
    "mtbench_translators": "translator",
    "mtbench_datasets": "dataset",
    "mtbench_segmenters": "segmenter",
    "mtbench_extractors": "extractor",
    "mtbench_metrics": "metric",
    "mtbench_executors": "executor",
    "mtbench_exporters": "exporter",
    "mtbench_challenges": "challenge",
    "mtbench_suites": "suite",
}
"""Hooks that yield specs, and the kind each one yields."""
