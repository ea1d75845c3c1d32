"""From a suite to its graph: for every dataset, fold and protocol the rows, and the units that fill them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mtbench.errors import SuiteError
from mtbench.plan.builder import Builder, Images, split_settings
from mtbench.plan.choices import Choice, choices
from mtbench.plan.graph import Plan, Row
from mtbench.plan.protocols import PROTOCOLS
from mtbench.plan.subjects import SOURCE_TEST, TARGET_TEST, Subject
from mtbench.plan.suite import Suite
from mtbench.registry.discovery import Registry
from mtbench.registry.params import format_call
from mtbench.registry.specs import MetricSpec
from mtbench.store.artefacts import canonical


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """The graph of a suite.

    Raises:
        SuiteError, RequestError, ParamError: it names a plugin or parameter that does not exist, or one that
            does not fit.
    """
    plan = Plan(suite)
    chosen = {kind: choices(kind, getattr(suite, f"{kind}s"), suite, registry) for kind in _KINDS}
    for metric in chosen["metric"]:
        _check_extractors(metric, registry)
    for dataset in chosen["dataset"]:
        for fold in _folds(dataset):
            builder = Builder.start(suite, registry, plan, dataset, fold)
            columns = _shared_columns(builder, dataset, fold)
            for protocol in suite.protocols:
                here = {**columns, "protocol": protocol}
                for subject in PROTOCOLS[protocol](builder, chosen["translator"]):
                    for metric in chosen["metric"]:
                        plan.rows += _rows(builder, subject, metric, chosen["segmenter"], here)
    _check_rows(plan)
    _leave_out_unused(plan)
    return plan


_KINDS = ("dataset", "translator", "segmenter", "metric")


def _folds(dataset: Choice) -> Iterator[int | None]:
    split = dataset.entry.split or {}
    yield from range(split["folds"]) if split.get("by") == "folds" else (None,)


def _check_rows(plan: Plan) -> None:
    seen: dict[str, Row] = {}
    for row in plan.rows:
        if seen.setdefault(row.id, row).unit != row.unit:
            who = row.columns["translator"] or row.columns["role"]
            raise SuiteError(
                f"two rows are called '{who}', {row.columns['title']}, for '{row.columns['dataset']}', "
                "but are made in different ways",
                where=f"suite '{plan.suite.name}'",
                expected="a name of its own for each entry that has another plugin or differs in a path only",
                remedy='Write name = "..." beside plugin = "..."',
            )


def _leave_out_unused(plan: Plan) -> None:
    """Drop units that no row needs: translations that none of the suite's metrics looks at, and their fits."""
    needed: set[str] = set()
    stack = [row.unit for row in plan.rows if row.unit]
    while stack:
        key = stack.pop()
        if key not in needed:
            needed.add(key)
            stack += plan.units[key].inputs.values()
    for key in [key for key in plan.units if key not in needed]:
        del plan.units[key]


def _check_extractors(metric: Choice, registry: Registry) -> None:
    for need in metric.ask(metric.spec.needed, metric.params):
        if not isinstance(need, str):
            known = registry.get("extractor", need.extractor)
            for missing in sorted(set(need.arrays) - set(known.spec.arrays)):
                raise SuiteError(
                    f"extractor '{need.extractor}' gives no array '{missing}'",
                    where=metric.entry.where,
                    expected="one of " + ", ".join(known.spec.arrays),
                )


def _shared_columns(builder: Builder, dataset: Choice, fold: int | None) -> dict[str, Any]:
    settings = split_settings(dataset, fold)
    if settings.get("file"):
        settings["file"] = PurePath(settings["file"]).name  # what it says is in data_sha256
    task = builder.task
    return {
        "suite": builder.suite.name,
        "dataset": dataset.entry.name,
        "dataset_revision": dataset.spec.revision,
        "dataset_params": canonical(dataset.changed),
        "source_domain": task.source,
        "target_domain": task.target,
        "task_note": task.note,
        "split": format_call(settings["by"], {k: v for k, v in settings.items() if k not in ("by", "fold")}),
        "fold": fold,
        "precision": builder.suite.precision,
        "threads": builder.suite.threads,
    }


def _rows(
    builder: Builder, subject: Subject, metric: Choice, segmenters: list[Choice], shared: Mapping[str, Any]
) -> Iterator[Row]:
    needs = metric.ask(metric.spec.needed, metric.params)
    if not subject.wants(needs):
        return
    columns = {
        **shared,
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


def _metric_columns(metric: Choice, needs: tuple[Any, ...], builder: Builder) -> dict[str, Any]:
    spec: MetricSpec = metric.spec
    suite = builder.suite
    extractors = sorted({need.extractor for need in needs if not isinstance(need, str)})
    caveats = {builder.registry.get("extractor", name).spec.caveat for name in extractors}
    drawn = {"draws": suite.draws, "sampling_seed": suite.sampling_seed} if spec.balanced else {}
    shown = {name for name, param in spec.params.items() if param.shown and param.identity}
    return {
        "metric": spec.name,
        "variant": metric.ask(spec.printed_variant, metric.params),
        "title": spec.title or spec.name,
        "family": spec.family,
        "metric_params": canonical({name: value for name, value in metric.params.items() if name in shown}),
        "sampling_params": canonical(drawn) if drawn else "",
        "extractor": ",".join(extractors),
        "higher_is_better": spec.higher_is_better,
        "unit": spec.unit,
        "decimals": spec.decimals,
        "caveat": "; ".join(sorted(caveats - {""})),
    }


def _row(
    builder: Builder,
    subject: Subject,
    metric: Choice,
    needs: tuple[Any, ...],
    segmenter: Choice | None,
    columns: Mapping[str, Any],
) -> Row:
    row = {
        **columns,
        "segmenter": segmenter.entry.name if segmenter else "",
        "segmenter_params": canonical(segmenter.changed if segmenter else {}),
        "segmenter_seed": builder.suite.segmenter_seed if segmenter else None,
    }
    reason = subject.cannot(builder.task, needs)
    if reason:
        return Row(row, skipped=reason)
    fits = [subject.fit] if subject.fit else []
    inputs = dict(builder.base)
    options: dict[str, Any] = {
        "candidate": subject.images.where,
        "needs": [],
        # Other metrics draw only to estimate their intervals: no other seed makes those better.
        "sampling_seed": builder.suite.sampling_seed if metric.spec.balanced else 0,
    }
    if subject.images.key:
        inputs["candidate_images"] = subject.images.key
    for need in needs:
        if isinstance(need, str):
            options["needs"].append(need)
            if need == "predicted_masks":
                assert segmenter is not None
                training = subject.training
                label = f"{segmenter.label} on {training.label or training.domain}"
                fit = builder.fit(segmenter, label, builder.suite.segmenter_seed, [training.domain], training.made)
                inputs[need] = builder.segment(segmenter, fit, subject.images, training.label)
                # Its Dice on validation slices stands on the row.
                inputs["segmenter"] = fit
                fits.append(fit)
        else:
            images = subject.images if need.of == "candidate" else Images("target test slices", TARGET_TEST)
            role = f"{need.of}_features_{len(options['needs'])}"
            inputs[role] = builder.extract(need, images)
            options["needs"].append({"of": need.of, "arrays": list(need.arrays), "input": role})
        if need == "reference" or getattr(need, "of", "") == "reference":
            options["reference"] = TARGET_TEST
    if metric.spec.balanced:
        options |= {"balanced": True, "draws": builder.suite.draws}
        if subject.role == "floor":
            # At the N of the translated rows: a distance shrinks with N.
            options["like"] = SOURCE_TEST
    name = f"score {builder.short} {subject.label} {metric.label}"
    return Row(row, builder.unit("score", name, choice=metric, inputs=inputs, options=options), tuple(fits))
