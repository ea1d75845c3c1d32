"""From a suite to its graph: for every dataset, fold and protocol the rows, and the units that fill them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from mtbench.data import Role
from mtbench.errors import SuiteError
from mtbench.hashing import canonical
from mtbench.plan.builder import Builder, Images, split_options
from mtbench.plan.choices import Choice, choices
from mtbench.plan.graph import Plan, Row
from mtbench.plan.protocols import PROTOCOLS
from mtbench.plan.subjects import Needs, Subject
from mtbench.plan.suite import Suite
from mtbench.registry.params import format_call
from mtbench.registry.registry import Registry
from mtbench.registry.specs import (
    DatasetSpec,
    ExtractorSpec,
    MetricSpec,
    SegmenterSpec,
    TranslatorSpec,
    two_sided,
)
from mtbench.stages.table import SOURCE_TEST, TARGET_TEST, FeatureInput, FitOptions, ScoreOptions


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """The graph of a suite.

    Raises:
        SuiteError, RequestError, ParamError: it names a plugin or parameter that does not exist, or one that
            does not fit.
    """
    plan = Plan(suite)
    datasets = choices(DatasetSpec, suite.datasets, suite, registry)
    translators = choices(TranslatorSpec, suite.translators, suite, registry)
    segmenters = choices(SegmenterSpec, suite.segmenters, suite, registry)
    metrics = choices(MetricSpec, suite.metrics, suite, registry)
    for metric in metrics:
        _check_extractors(metric, registry)
    for dataset in datasets:
        for fold in _folds(dataset):
            builder = Builder.start(suite, registry, plan, dataset, fold)
            columns = _shared_columns(builder, dataset, fold)
            for protocol in suite.protocols:
                here = {**columns, "protocol": protocol}
                for subject in PROTOCOLS[protocol](builder, translators):
                    for metric in metrics:
                        plan.rows += _rows(builder, subject, metric, segmenters, here)
    _check_rows(plan)
    _prune(plan)
    return plan


def _folds(dataset: Choice[DatasetSpec]) -> Iterator[int | None]:
    split = dataset.entry.split
    yield from range(split.folds) if split and split.by == "folds" else (None,)


def _check_rows(plan: Plan) -> None:
    rows: dict[str, Row] = {}
    for row in plan.rows:
        if rows.setdefault(row.id, row).unit != row.unit:
            who = row.columns["translator"] or row.columns["role"]
            raise SuiteError(
                f"two rows are called '{who}', {row.columns['title']}, for '{row.columns['dataset']}', "
                "but are made in different ways",
                where=f"suite '{plan.suite.name}'",
                expected="a name of its own for each entry that has another plugin or differs in a path only",
                remedy='Write name = "..." beside plugin = "..."',
            )


def _prune(plan: Plan) -> None:
    """Drop units that no row needs: translations that none of the suite's metrics looks at, and their fits."""
    keys: set[str] = set()
    stack = [row.unit for row in plan.rows if row.unit]
    while stack:
        key = stack.pop()
        if key not in keys:
            keys.add(key)
            stack += plan.units[key].inputs.values()
    for key in [key for key in plan.units if key not in keys]:
        del plan.units[key]


def _check_extractors(metric: Choice[MetricSpec], registry: Registry) -> None:
    for need in metric.registration.ask(metric.spec.needs_for, metric.params):
        if not isinstance(need, str):
            extractor = registry.get(ExtractorSpec, need.extractor)
            for array in sorted(set(need.arrays) - set(extractor.spec.arrays)):
                raise SuiteError(
                    f"extractor '{need.extractor}' gives no array '{array}'",
                    where=metric.entry.where,
                    expected="one of " + ", ".join(extractor.spec.arrays),
                )


def _shared_columns(builder: Builder, dataset: Choice[DatasetSpec], fold: int | None) -> dict[str, Any]:
    split = split_options(dataset, fold)
    split = replace(split, file=PurePath(split.file).name)  # what it says is in data_sha256
    task = builder.task
    return {
        "suite": builder.suite.name,
        "dataset": dataset.entry.name,
        "dataset_revision": dataset.spec.revision,
        "dataset_params": canonical(dataset.changes),
        "source_domain": task.source,
        "target_domain": task.target,
        "task_note": task.note,
        "split": format_call(split.by, split.settings),
        "fold": fold,
        "precision": builder.suite.precision,
        "threads": builder.suite.threads,
    }


def _rows(
    builder: Builder,
    subject: Subject,
    metric: Choice[MetricSpec],
    segmenters: list[Choice[SegmenterSpec]],
    common: Mapping[str, Any],
) -> Iterator[Row]:
    needs = metric.registration.ask(metric.spec.needs_for, metric.params)
    if not subject.wants(needs):
        return
    columns = {
        **common,
        **subject.columns,
        "translator_params": canonical(subject.columns["translator_params"]),
        **_metric_columns(metric, needs, builder),
    }
    if "predicted_masks" not in needs:
        yield _row(builder, subject, metric, needs, None, columns)
    elif not segmenters:
        yield Row(columns, skipped="the suite names no segmenter")
    else:
        for segmenter in segmenters:
            yield _row(builder, subject, metric, needs, segmenter, columns)


def _metric_columns(metric: Choice[MetricSpec], needs: Needs, builder: Builder) -> dict[str, Any]:
    spec = metric.spec
    extractors = sorted({need.extractor for need in needs if not isinstance(need, str)})
    caveats = {builder.registry.get(ExtractorSpec, name).spec.caveat for name in extractors}
    suite = builder.suite
    sampling = {"draws": suite.draws, "sampling_seed": suite.sampling_seed} if spec.balanced else {}
    names = {name for name, param in spec.params.items() if param.shown and param.identity}
    return {
        "metric": spec.name,
        "variant": metric.registration.ask(spec.printed_variant, metric.params),
        "title": spec.title or spec.name,
        "family": spec.family,
        "metric_params": canonical({name: value for name, value in metric.params.items() if name in names}),
        "sampling_params": canonical(sampling) if sampling else "",
        "extractor": ",".join(extractors),
        "higher_is_better": spec.higher_is_better,
        "unit": spec.unit,
        "decimals": spec.decimals,
        "caveat": "; ".join(sorted(caveats - {""})),
    }


def _row(
    builder: Builder,
    subject: Subject,
    metric: Choice[MetricSpec],
    needs: Needs,
    segmenter: Choice[SegmenterSpec] | None,
    columns: Mapping[str, Any],
) -> Row:
    row = {
        **columns,
        "segmenter": segmenter.entry.name if segmenter else "",
        "segmenter_params": canonical(segmenter.changes if segmenter else {}),
        "segmenter_seed": builder.suite.segmenter_seed if segmenter else None,
    }
    reason = subject.cannot(builder.task, needs)
    if reason:
        return Row(row, skipped=reason)
    fits = [subject.fit] if subject.fit else []
    inputs = dict(builder.base)
    roles: list[Role] = []
    features: list[FeatureInput] = []
    if subject.images.key:
        inputs["candidate_images"] = subject.images.key
    for need in needs:
        if isinstance(need, str):
            roles.append(need)
            if need == "predicted_masks":
                assert segmenter is not None
                training = subject.training
                label = f"{segmenter.label} on {training.label or training.domain}"
                learns_from = FitOptions((training.domain,), masks=True)
                fit = builder.fit(segmenter, label, builder.suite.segmenter_seed, learns_from, training.translations)
                inputs[need] = builder.segment(segmenter, fit, subject.images, training.label)
                # Its Dice on validation slices stands on the row.
                inputs["segmenter"] = fit
                fits.append(fit)
        else:
            images = subject.images if need.of == "candidate" else Images("target test slices", TARGET_TEST)
            role = f"{need.of}_features_{len(features)}"
            inputs[role] = builder.extract(need, images)
            features.append(FeatureInput(need.of, need.arrays, role))
    balanced = metric.spec.balanced
    options = ScoreOptions(
        candidate=subject.images.where,
        roles=tuple(roles),
        features=tuple(features),
        reference=TARGET_TEST if two_sided(needs) else None,
        balanced=balanced,
        draws=builder.suite.draws if balanced else 1,
        # Other metrics draw only to estimate their intervals: no other seed makes those better.
        sampling_seed=builder.suite.sampling_seed if balanced else 0,
        # At the N of the translated rows: a distance shrinks with N.
        like=SOURCE_TEST if balanced and subject.role == "floor" else None,
    )
    name = f"score {builder.short} {subject.label} {metric.label}"
    return Row(row, builder.unit("score", name, options, choice=metric, inputs=inputs), tuple(fits))
