"""From a suite to its graph: the rows of every dataset, fold and protocol, and the units that fill them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from mtbench.data import Role
from mtbench.errors import SuiteError
from mtbench.hashing import canonical
from mtbench.plan.builder import Builder, Images
from mtbench.plan.choices import Choice, choices
from mtbench.plan.graph import Plan, Row
from mtbench.plan.protocols import PROTOCOLS
from mtbench.plan.subjects import Needs, Subject, but_several
from mtbench.plan.suite import Entry, Suite
from mtbench.registry.needs import reads_side, two_sided
from mtbench.registry.params import format_call
from mtbench.registry.registry import Registry
from mtbench.registry.specs import DatasetSpec, ExtractorSpec, MetricSpec, SegmenterSpec, TranslatorSpec
from mtbench.stages.table import SOURCE_TEST, TARGET_TRAIN, FeatureInput, FitOptions, ScoreOptions


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """The graph of a suite.

    Raises:
        SuiteError, RequestError, ParamError: the suite names a plugin or parameter that does not exist, or a value
            that is not valid.
    """
    plan = Plan(suite)
    datasets = choices(DatasetSpec, suite.datasets, suite, registry)
    translators = choices(TranslatorSpec, suite.translators, suite, registry)
    segmenters = choices(SegmenterSpec, suite.segmenters, suite, registry)
    judges = [_judge(metric, suite, registry) for metric in choices(MetricSpec, suite.metrics, suite, registry)]
    for dataset in datasets:
        for builder in _builders(suite, registry, plan, dataset):
            columns = _shared_columns(builder, dataset)
            for protocol in suite.protocols:
                for subject in PROTOCOLS[protocol](builder, translators):
                    here = {**columns, "protocol": protocol, "role": subject.role, **subject.columns}
                    for judge in judges:
                        if subject.judged_by(judge.needs):
                            plan.rows += _rows(builder, subject, judge, segmenters, here)
    _check_and_prune(plan)
    return plan


def _builders(suite: Suite, registry: Registry, plan: Plan, dataset: Choice[DatasetSpec]) -> Iterator[Builder]:
    """One for each fold and each fraction of pairs."""
    entry, split = dataset.entry, dataset.entry.split
    for fold in range(split.folds) if split and split.by == "folds" else (None,):
        builder = Builder.start(suite, registry, plan, dataset, fold)
        if entry.paired_fraction != (1.0,) and not builder.task.paired_training:
            raise SuiteError(
                f"'paired_fraction' is set, but data set '{entry.name}' has no paired training slices",
                where=entry.where,
                expected="a data set that pairs its training slices",
                remedy="Remove `paired_fraction` from this entry",
            )
        if entry.paired_fraction != (1.0,) and "paired_fraction" in dataset.spec.params:
            raise SuiteError(
                f"'paired_fraction' is also a parameter of the plugin of data set '{entry.name}'",
                where=entry.where,
                remedy="Set `params.paired_fraction` only: rows cannot show both",
            )
        for fraction in entry.paired_fraction:
            yield replace(builder, paired_fraction=fraction)


def _check_and_prune(plan: Plan) -> None:
    """Reject different rows of the same identity, and drop units that no row needs.

    These are translations that none of the suite's metrics reads, and their fits.
    """
    rows: dict[str, Row] = {}
    for row in plan.rows:
        if rows.setdefault(row.id, row).unit != row.unit:
            who = row.columns["translator"] or row.columns["role"]
            raise SuiteError(
                f"two rows are called '{who}', {row.columns['title']}, for '{row.columns['dataset']}', "
                "but are computed differently",
                where=f"suite '{plan.suite.name}'",
                expected="different names for entries with different plugins or paths",
                remedy='Add name = "..." to the entry, beside plugin = "..."',
            )
    needed = {row.unit for row in plan.rows if row.unit}
    # A unit's inputs come before it.
    for key, unit in reversed(list(plan.units.items())):
        if key in needed:
            needed.update(unit.inputs.values())
        else:
            del plan.units[key]


@dataclass(frozen=True)
class _Judge:
    """A metric, its inputs, the feature networks among them, and the identifying columns."""

    metric: Choice[MetricSpec]
    needs: Needs
    extractors: Sequence[Choice[ExtractorSpec]]
    columns: Mapping[str, object]

    @property
    def reads_segmenter(self) -> bool:
        """Whether it reads a segmenter's labels or features."""
        return "predicted_masks" in self.needs or any(extractor.spec.of_segmenter for extractor in self.extractors)

    def cannot(self, builder: Builder, segmenter: Choice[SegmenterSpec] | None) -> str:
        """Why it cannot be computed with this segmenter, for any images; empty if it can."""
        if not self.reads_segmenter:
            return ""
        if segmenter is None:
            return "the suite names no segmenter"
        of_segmenter = [extractor.spec for extractor in self.extractors if extractor.spec.of_segmenter]
        for spec in of_segmenter:
            if lacking := sorted(set(spec.arrays) - set(segmenter.spec.arrays)):
                return f"segmenter '{segmenter.entry.name}' offers no {lacking[0]} for '{spec.name}'"
        if of_segmenter and "target" not in builder.task.masks:
            return "the target domain has no masks to train a segmenter on"
        return ""


def _shared_columns(builder: Builder, dataset: Choice[DatasetSpec]) -> dict[str, object]:
    split = replace(builder.split, file=PurePath(builder.split.file).name)  # its content is in data_sha256
    task = builder.task
    fraction = {"paired_fraction": builder.paired_fraction} if builder.paired_fraction != 1 else {}
    return {
        "suite": builder.suite.name,
        "dataset": dataset.entry.name,
        "dataset_revision": dataset.spec.revision,
        "dataset_params": canonical({**dataset.changes, **fraction}),
        "source_domain": task.source,
        "target_domain": task.target,
        "task_note": task.note,
        "split": format_call(split.by, split.settings),
        "fold": split.fold,
        "precision": builder.suite.precision,
        "threads": builder.suite.threads,
    }


def _judge(metric: Choice[MetricSpec], suite: Suite, registry: Registry) -> _Judge:
    spec, ask = metric.spec, metric.registration.ask
    needs = ask(spec.needs_for, metric.params)
    caveats: dict[str, str] = {}
    extractors: list[Choice[ExtractorSpec]] = []
    for need in needs:
        if not isinstance(need, str):
            entry = Entry(need.extractor, need.extractor, need.params)
            extractors += choices(ExtractorSpec, (entry,), suite, registry)
            extractor = extractors[-1].spec
            caveats[extractor.name] = extractor.caveat
            for array in sorted(set(need.arrays) - set(extractor.arrays)):
                raise SuiteError(
                    f"extractor '{need.extractor}' has no array '{array}'",
                    where=metric.entry.where,
                    expected="one of " + ", ".join(extractor.arrays),
                )
    sampling = {"draws": suite.draws, "sampling_seed": suite.sampling_seed}
    params = {
        name: each for name, each in metric.params.items() if spec.params[name].shown and spec.params[name].identity
    }
    columns = {
        "metric": spec.name,
        "variant": ask(spec.printed_variant, metric.params),
        "title": spec.title or spec.name,
        "family": spec.family,
        "metric_params": canonical(params),
        "sampling_params": canonical(sampling) if ask(spec.draws, metric.params) else "",
        "extractor": ",".join(sorted(caveats)),
        "higher_is_better": spec.higher_is_better,
        "measure_unit": spec.measure_unit,
        "decimals": spec.decimals,
        "beside": spec.beside,
        "caveat": "; ".join(sorted({spec.caveat, *caveats.values()} - {""})),
    }
    return _Judge(metric, needs, extractors, columns)


def _rows(
    builder: Builder,
    subject: Subject,
    judge: _Judge,
    segmenters: list[Choice[SegmenterSpec]],
    common: Mapping[str, object],
) -> Iterator[Row]:
    for seeded in (_seeded(segmenters, builder.suite) if judge.reads_segmenter else None) or (None,):
        row = {
            **common,
            **judge.columns,
            "segmenter": seeded.choice.entry.name if seeded else "",
            "segmenter_params": canonical(seeded.choice.changes if seeded else {}),
            "segmenter_seed": seeded.seed if seeded else None,
        }
        reason = judge.cannot(builder, seeded.choice if seeded else None) or subject.cannot(builder.task, judge.needs)
        if "source" in judge.needs and len(builder.task.channels) > 1 and not judge.metric.spec.several_channels:
            reason = reason or f"{judge.metric.spec.name} reads one source channel" + but_several(builder.task)
        yield Row(row, skipped=reason) if reason else _row(builder, subject, judge, seeded, row)


@dataclass(frozen=True)
class _Segmenter:
    """A segmenter and the seed of its fit."""

    choice: Choice[SegmenterSpec]
    seed: int


def _seeded(segmenters: Sequence[Choice[SegmenterSpec]], suite: Suite) -> list[_Segmenter]:
    return [_Segmenter(each, seed) for each in segmenters for seed in each.entry.seeds or (suite.segmenter_seed,)]


def _called(segmenter: _Segmenter) -> str:
    label, several = segmenter.choice.label, len(segmenter.choice.entry.seeds or ()) > 1
    return f"{label} seed {segmenter.seed}" if several else label


def _features(
    builder: Builder, extractor: Choice[ExtractorSpec], segmenter: _Segmenter | None, images: Images
) -> tuple[str, str]:
    """The unit that extracts features of an image set, and the fit of its network; empty without one."""
    network: Choice[ExtractorSpec] | Choice[SegmenterSpec] = extractor
    called, label, seed = extractor.label, extractor.label, builder.suite.segmenter_seed
    if extractor.spec.of_segmenter and segmenter is not None:
        network, label, seed = segmenter.choice, _called(segmenter), segmenter.seed
        called = f"{called} of {label}"
    elif not extractor.spec.trains:
        return builder.look("extract", extractor, called, images), ""
    fit = builder.fit_on_target(network, label, seed)
    return builder.look("extract", network, called, images, {"fit": fit}), fit


def _row(
    builder: Builder,
    subject: Subject,
    judge: _Judge,
    segmenter: _Segmenter | None,
    columns: Mapping[str, object],
) -> Row:
    """A row; the units that fill it are added to the plan."""
    suite, metric = builder.suite, judge.metric
    fits = [subject.fit] if subject.fit else []
    inputs = dict(builder.base)
    roles: list[Role] = []
    features: list[FeatureInput] = []
    if subject.images.key:
        inputs["candidate_images"] = subject.images.key
    for need in judge.needs:
        if not isinstance(need, str):
            images = {
                "candidate": subject.images,
                "reference": Images(f"target {subject.reference.split} slices", subject.reference),
                "training": Images("target training slices", TARGET_TRAIN),
            }[need.of]
            role = f"{need.of}_features_{len(features)}"
            inputs[role], fit = _features(builder, judge.extractors[len(features)], segmenter, images)
            fits += [fit] if fit and fit not in fits else []
            if judge.extractors[len(features)].spec.of_segmenter:
                inputs["segmenter"] = fit
            features.append(FeatureInput(need.of, need.arrays, role))
            continue
        roles.append(need)
        if need == "predicted_masks" and segmenter is not None:
            training, called = subject.training, _called(segmenter)
            options = FitOptions((training.domain,), masks=True)
            label = f"{called} on {training.label or training.domain}"
            fit = builder.fit(segmenter.choice, label, segmenter.seed, options, training.translations)
            called = label if training.label else called
            inputs[need] = builder.look("segment", segmenter.choice, called, subject.images, {"fit": fit})
            # The row states its Dice on validation slices.
            inputs["segmenter"] = fit
            fits += [fit] if fit not in fits else []
    balanced = metric.registration.ask(metric.spec.draws, metric.params)
    score = ScoreOptions(
        candidate=subject.images.where,
        roles=tuple(roles),
        features=tuple(features),
        reference=subject.reference if two_sided(judge.needs) else None,
        training=TARGET_TRAIN if reads_side(judge.needs, "training") else None,
        balanced=balanced,
        draws=suite.draws if balanced else 1,
        # Other metrics draw only for their intervals, which no choice of seed improves.
        sampling_seed=suite.sampling_seed if balanced else 0,
        # At the N of the translated rows, because a distance shrinks with N.
        like=SOURCE_TEST if balanced and subject.role == "floor" else None,
    )
    name = f"score {builder.short} {subject.label or subject.role} {metric.label}"
    return Row(columns, builder.unit("score", name, score, choice=metric, inputs=inputs), tuple(fits))
