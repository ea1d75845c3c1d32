"""The product of a suite as a graph of units and the rows it will give. Pure: no pixels, no torch."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mtbench.codeid import code_identity
from mtbench.data import Task
from mtbench.discovery import Registered, Registry
from mtbench.errors import ParamError, SuiteError
from mtbench.params import convert, format_call
from mtbench.specs import DatasetSpec, MetricSpec, TranslatorSpec
from mtbench.store.artefacts import hash_of
from mtbench.suite import Entry, Suite


@dataclass(frozen=True)
class Unit:
    """One piece of work, named by the hash of all that was asked of it.

    Attributes:
        key: sha256 over everything below that changes the result.
        stage: one of ``mtbench.stages.STAGES``.
        kind, plugin: whose code does it; empty for the split stage.
        params: the plugin's parameters, complete; paths as written.
        paths: path parameters (and a dataset's "root") resolved on this machine; not in the key.
        seed: of the fit or sampling; ``None`` where it has none.
        inputs: role to the key of the unit that gives it.
        options: what the stage itself needs to know (domain, split, ...).
        precision, threads: of its arithmetic.
        name: what a person calls it; not in the key.
        task: the task it belongs to.
    """

    key: str
    stage: str
    kind: str
    plugin: str
    params: Mapping[str, Any]
    paths: Mapping[str, str]
    seed: int | None
    inputs: Mapping[str, str]
    options: Mapping[str, Any]
    precision: str
    threads: int
    name: str
    task: Task


@dataclass(frozen=True)
class Row:
    """One line of the results to be: the identifying columns, and the score unit that fills it.

    Attributes:
        columns: of the ``scores`` table, as far as known beforehand.
        unit: key of the score unit; empty where the row is skipped.
        fits: keys of the fits behind it.
        skipped: why there is nothing to compute.
    """

    columns: Mapping[str, Any]
    unit: str = ""
    fits: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def id(self) -> str:
        """The identity of the row in a results directory."""
        return hash_of(dict(self.columns))


@dataclass
class Plan:
    """Units in an order in which they can run, and rows."""

    suite: Suite
    units: dict[str, Unit] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def weights(self, registry: Registry) -> dict[str, list[str]]:
        """Catalogued weight files that units must have, each with the names of the plugins that ask for it."""
        needed: dict[str, list[str]] = {}
        for unit in self.units.values():
            if unit.kind in ("extractor", "translator") and unit.stage != "translate":
                spec = registry.get(unit.kind, unit.plugin).spec
                if unit.paths.get("weights"):
                    continue
                for name in spec.weights:
                    users = needed.setdefault(name, [])
                    if unit.plugin not in users:
                        users.append(unit.plugin)
        return needed


@dataclass(frozen=True)
class _Choice:
    """One plugin at one point of its parameter grid."""

    entry: Entry
    registered: Registered
    params: Mapping[str, Any]
    paths: Mapping[str, str]

    @property
    def spec(self) -> Any:
        return self.registered.spec

    @property
    def changed(self) -> dict[str, Any]:
        """The parameters that differ from the defaults, paths left out."""
        declared = self.spec.params
        return {
            name: value
            for name, value in self.params.items()
            if value != declared[name].default and declared[name].kind != "path"
        }

    @property
    def label(self) -> str:
        return format_call(self.entry.name, {k: v for k, v in self.changed.items() if not isinstance(v, (dict, list))})


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """The graph of a suite.

    Raises:
        SuiteError, RequestError, ParamError: it names a plugin or parameter that does not exist, or one that
            does not fit.
    """
    return _Planner(suite, registry).plan()


class _Planner:
    def __init__(self, suite: Suite, registry: Registry) -> None:
        self.suite = suite
        self.registry = registry
        self.result = Plan(suite)

    def plan(self) -> Plan:
        datasets = list(self._choices("dataset", self.suite.datasets))
        translators = list(self._choices("translator", self.suite.translators))
        segmenters = list(self._choices("segmenter", self.suite.segmenters))
        metrics = list(self._choices("metric", self.suite.metrics))
        for metric in metrics:
            self._extractors(metric)
        for dataset in datasets:
            for fold in self._folds(dataset):
                self._dataset(dataset, fold, translators, segmenters, metrics)
        return self.result

    # -- the choices of a suite

    def _choices(self, kind: str, entries: Iterable[Entry]) -> Iterator[_Choice]:
        for entry in entries:
            try:
                registered = self.registry.get(kind, entry.plugin)
                yield from self._grid(entry, registered)
            except SuiteError:
                raise
            except ParamError as error:
                raise ParamError(
                    error.what,
                    where=f"{entry.where}: {error.where}" if entry.where else error.where,
                    expected=error.expected,
                    remedy=error.remedy,
                    matches=error.matches,
                ) from error
            except Exception as error:
                if getattr(error, "where", "set") is None and entry.where:
                    error.where = entry.where  # type: ignore[attr-defined]
                    error.args = (str(error),)
                raise

    def _grid(self, entry: Entry, registered: Registered) -> Iterator[_Choice]:
        spec = registered.spec
        declared = spec.params
        owner = f"{spec.kind} '{spec.name}'"
        given = dict(entry.params)
        root = entry.root
        if spec.kind == "dataset" and "root" in given and "root" not in declared:
            root = str(given.pop("root"))
        if entry.positional:
            if spec.shorthand is None or len(entry.positional) > 1:
                raise ParamError(
                    f"'{entry.positional[-1]}' has no name", where=owner, expected=f"{entry.name}:NAME=VALUE with NAME one of {', '.join(declared) or 'nothing'}"
                )
            given[spec.shorthand] = entry.positional[0]
        axes: dict[str, list[Any]] = {}
        for name, value in given.items():
            grid = isinstance(value, list) and name in declared and declared[name].kind != "list"
            axes[name] = value if grid else [value]
            if grid and not value:
                raise ParamError(f"the grid of '{name}' is empty", where=owner, expected="at least one value")
        for point in itertools.product(*axes.values()):
            params = self.registry.complete(spec.kind, spec.name, dict(zip(axes, point, strict=True)))
            paths = {
                name: str(self.suite.path(params[name], typed=name in entry.typed))
                for name, param in declared.items()
                if param.kind == "path" and params[name]
            }
            if root:
                paths["root"] = str(self.suite.path(root, typed="root" in entry.typed))
            elif spec.kind == "dataset" and spec.needs_root:
                raise SuiteError(
                    f"dataset '{entry.name}' needs to know where its files are",
                    where=entry.where,
                    expected='root = "FOLDER"',
                    remedy=spec.obtain or None,
                )
            yield _Choice(entry, registered, params, paths)

    def _extractors(self, metric: _Choice) -> None:
        for need in metric.spec.needed(metric.params):
            if not isinstance(need, str):
                known = self.registry.get("extractor", need.extractor)
                missing = set(need.arrays) - set(known.spec.arrays)
                if missing:
                    raise SuiteError(
                        f"extractor '{need.extractor}' gives no array '{missing.pop()}'",
                        where=metric.entry.where,
                        expected="one of " + ", ".join(known.spec.arrays),
                    )

    def _folds(self, dataset: _Choice) -> Iterator[int | None]:
        split = dataset.entry.split or {}
        yield from range(split["folds"]) if split.get("by") == "folds" else (None,)

    # -- units

    def _unit(
        self,
        stage: str,
        name: str,
        task: Task,
        *,
        choice: _Choice | None = None,
        seed: int | None = None,
        inputs: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        numeric: bool = True,
        paths: Mapping[str, str] | None = None,
    ) -> str:
        plugin = None
        if choice is not None:
            plugin = {
                "kind": choice.spec.kind,
                "name": choice.spec.name,
                "revision": choice.spec.revision,
                "code": code_identity(choice.registered),
            }
        precision = self.suite.precision if numeric else "fp32"
        threads = self.suite.threads if numeric else 1
        key = hash_of(
            {
                "stage": stage,
                "stage_revision": _stage_revision(stage),
                "plugin": plugin,
                "params": dict(choice.params) if choice else {},
                "seed": seed,
                "inputs": dict(inputs or {}),
                "options": dict(options or {}),
                "precision": precision,
                "threads": threads,
            }
        )
        if key not in self.result.units:
            self.result.units[key] = Unit(
                key=key,
                stage=stage,
                kind=choice.spec.kind if choice else "",
                plugin=choice.spec.name if choice else "",
                params=choice.params if choice else {},
                paths={**(choice.paths if choice else {}), **(paths or {})},
                seed=seed,
                inputs=dict(inputs or {}),
                options=dict(options or {}),
                precision=precision,
                threads=threads,
                name=name,
                task=task,
            )
        return key

    # -- one dataset, one fold: the protocol "segment-translated"

    def _dataset(
        self,
        dataset: _Choice,
        fold: int | None,
        translators: list[_Choice],
        segmenters: list[_Choice],
        metrics: list[_Choice],
    ) -> None:
        spec: DatasetSpec = dataset.spec
        task = spec.task(dataset.params, dataset.entry.name)
        if dataset.entry.note:
            task = Task(**{**vars(task), "note": dataset.entry.note})
        short = dataset.entry.name + (f" fold {fold}" if fold is not None else "")
        data = self._unit(
            "prepare",
            f"prepare {dataset.entry.name}",
            task,
            choice=dataset,
            options={"root": dataset.entry.root or "", "dataset": dataset.entry.name, "note": task.note},
            numeric=False,
        )
        settings = dict(dataset.entry.split or {"by": "auto"})
        paths = {}
        if settings.get("file"):
            paths["split_file"] = str(self.suite.path(settings["file"]))
        if fold is not None:
            settings["fold"] = fold
        split = self._unit(
            "split", f"split {short}", task, inputs={"data": data}, options=settings, numeric=False, paths=paths
        )
        base = _Base(self, task, short, {"data": data, "split": split})
        columns = {
            "suite": self.suite.name,
            "protocol": "segment-translated",
            "dataset": dataset.entry.name,
            "dataset_revision": spec.revision,
            "dataset_params": _json(dataset.changed),
            "source_domain": task.source,
            "target_domain": task.target,
            "task_note": task.note,
            "split": _split_text(settings),
            "fold": fold,
            "precision": self.suite.precision,
        }
        for translator in translators:
            seeds: tuple[int | None, ...] = (None,)
            if (_trains(translator) or translator.spec.stochastic) and not translator.spec.deterministic:
                seeds = translator.entry.seeds or self.suite.seeds
            for seed in seeds:
                self._subject(
                    base,
                    _Subject.translated(base, translator, seed),
                    {
                        **columns,
                        "role": "translator",
                        "translator": translator.entry.name,
                        "translator_params": _json(translator.changed),
                        "conditional": translator.spec.conditional,
                        "seed": seed,
                    },
                    segmenters,
                    metrics,
                )
        if self.suite.references:
            for subject in _Subject.references():
                row = {**columns, "role": subject.role, "translator": "", "translator_params": "{}", "conditional": False, "seed": None}
                self._subject(base, subject, row, segmenters, metrics)

    def _subject(
        self,
        base: _Base,
        subject: _Subject,
        columns: Mapping[str, Any],
        segmenters: list[_Choice],
        metrics: list[_Choice],
    ) -> None:
        for metric in metrics:
            spec: MetricSpec = metric.spec
            needs = spec.needed(metric.params)
            if not subject.wants(needs):
                continue
            needs_masks = "predicted_masks" in needs
            described = {
                **columns,
                "segmenter": "",
                "segmenter_params": "{}",
                "segmenter_seed": None,
                "metric": spec.name,
                "variant": spec.printed_variant(metric.params),
                "title": spec.title or spec.name,
                "family": spec.family,
                "metric_params": _json({k: v for k, v in metric.params.items() if spec.params[k].kind != "path"}),
                "extractor": ",".join(sorted({n.extractor for n in needs if not isinstance(n, str)})),
                "higher_is_better": spec.higher_is_better,
                "unit": spec.unit,
                "decimals": spec.decimals,
                "caveat": "; ".join(
                    sorted(
                        {
                            self.registry.get("extractor", n.extractor).spec.caveat
                            for n in needs
                            if not isinstance(n, str)
                        }
                        - {""}
                    )
                ),
            }
            if needs_masks and not segmenters:
                self.result.rows.append(Row(described, skipped="the suite names no segmenter"))
                continue
            for segmenter in segmenters if needs_masks else [None]:
                row = dict(described)
                if segmenter is not None:
                    row |= {
                        "segmenter": segmenter.entry.name,
                        "segmenter_params": _json(segmenter.changed),
                        "segmenter_seed": self.suite.segmenter_seed,
                    }
                reason = subject.skipped or _cannot(base.task, subject, needs)
                if reason:
                    self.result.rows.append(Row(row, skipped=reason))
                else:
                    unit, fits = self._score(base, subject, metric, needs, segmenter)
                    self.result.rows.append(Row(row, unit, fits))

    def _score(
        self, base: _Base, subject: _Subject, metric: _Choice, needs: tuple[Any, ...], segmenter: _Choice | None
    ) -> tuple[str, tuple[str, ...]]:
        inputs = dict(base.inputs)
        candidate = subject.images(base)
        reference = {"domain": "target", "split": "test"}
        options: dict[str, Any] = {"candidate": candidate.where, "needs": []}
        fits = []
        if candidate.key:
            inputs["candidate_images"] = candidate.key
        if subject.fit:
            fits.append(subject.fit)
        for need in needs:
            if isinstance(need, str):
                options["needs"].append(need)
                if need == "reference":
                    options["reference"] = reference
                elif need == "predicted_masks":
                    assert segmenter is not None
                    fitted = base.segmenter_fit(segmenter, subject.segmenter_domain)
                    fits.append(fitted)
                    inputs["predicted_masks"] = base.segment(segmenter, fitted, candidate)
            else:
                of = candidate if need.of == "candidate" else _Images("target test slices", reference)
                if need.of == "reference":
                    options["reference"] = reference
                role = f"{need.of}_features_{len(options['needs'])}"
                inputs[role] = base.extract(need, of)
                options["needs"].append({"of": need.of, "arrays": list(need.arrays), "input": role})
        if metric.spec.balanced:
            options["balanced"] = True
            options["draws"] = self.suite.draws
            if subject.role == "floor":
                options["like"] = {"domain": "source", "split": "test"}
        options["sampling_seed"] = self.suite.sampling_seed
        name = f"score {base.short} {subject.label} {metric.label}"
        return self._unit("score", name, base.task, choice=metric, inputs=inputs, options=options), tuple(fits)


@dataclass(frozen=True)
class _Images:
    """An image set in the graph: slices of a domain and split, as they are or made by a unit."""

    label: str
    where: Mapping[str, str]
    key: str = ""


@dataclass
class _Base:
    """What all units of one dataset and fold share."""

    planner: _Planner
    task: Task
    short: str
    inputs: Mapping[str, str]

    def _of(self, images: _Images) -> dict[str, str]:
        return {**self.inputs, **({"images": images.key} if images.key else {})}

    def segmenter_fit(self, segmenter: _Choice, domain: str) -> str:
        return self.planner._unit(
            "fit",
            f"fit {self.short} {segmenter.label} on {domain}",
            self.task,
            choice=segmenter,
            seed=self.planner.suite.segmenter_seed,
            inputs=self.inputs,
            options={"domains": [domain]},
        )

    def segment(self, segmenter: _Choice, fitted: str, images: _Images) -> str:
        return self.planner._unit(
            "segment",
            f"segment {self.short} {images.label} with {segmenter.label}",
            self.task,
            choice=segmenter,
            inputs={**self._of(images), "fit": fitted},
            options={"candidate": images.where},
        )

    def extract(self, need: Any, images: _Images) -> str:
        entry = Entry(need.extractor, need.extractor, need.params)
        (choice,) = self.planner._grid(entry, self.planner.registry.get("extractor", need.extractor))
        return self.planner._unit(
            "extract",
            f"extract {self.short} {images.label} with {choice.label}",
            self.task,
            choice=choice,
            inputs=self._of(images),
            options={"candidate": images.where},
        )


@dataclass(frozen=True)
class _Subject:
    """What a row is about: translated slices, or one of the reference rows."""

    role: str
    label: str
    where: Mapping[str, str]
    segmenter_domain: str = "target"
    key: str = ""
    fit: str = ""
    skipped: str = ""

    @staticmethod
    def translated(base: _Base, translator: _Choice, seed: int | None) -> _Subject:
        spec: TranslatorSpec = translator.spec
        label = translator.label + (f" seed {seed}" if seed is not None else "")
        where = {"domain": "source", "split": "test"}
        reason = spec.supports(base.task) if spec.supports else None
        if spec.conditional and "source" not in base.task.masks:
            reason = "it needs masks of the source slices, which this dataset lacks"
        if reason:
            return _Subject("translator", label, where, skipped=f"{translator.entry.name}: {reason}")
        planner = base.planner
        inputs = dict(base.inputs)
        fit = ""
        if _trains(translator):
            fit = planner._unit(
                "fit",
                f"fit {base.short} {label}",
                base.task,
                choice=translator,
                seed=seed,
                inputs=inputs,
                options={"domains": ["source", "target"]},
            )
            inputs["fit"] = fit
        key = planner._unit(
            "translate",
            f"translate {base.short} {label}",
            base.task,
            choice=translator,
            seed=seed,
            inputs=inputs,
            options={"candidate": where, "conditional": spec.conditional},
        )
        return _Subject("translator", label, where, key=key, fit=fit)

    @staticmethod
    def references() -> tuple[_Subject, ...]:
        """Ceiling (real target slices), floor (target test against training slices), oracle (source on source)."""
        return (
            _Subject("ceiling", "ceiling", {"domain": "target", "split": "test"}),
            _Subject("floor", "floor", {"domain": "target", "split": "train"}),
            _Subject("oracle", "oracle", {"domain": "source", "split": "test"}, segmenter_domain="source"),
        )

    def wants(self, needs: tuple[Any, ...]) -> bool:
        """Whether a metric with these needs says anything about this subject."""
        two_sided = any(n == "reference" or getattr(n, "of", "") == "reference" for n in needs)
        if self.role == "ceiling":
            return not two_sided and "paired" not in needs
        if self.role == "floor":
            return two_sided
        if self.role == "oracle":
            return "predicted_masks" in needs
        return True

    def images(self, base: _Base) -> _Images:
        label = {"ceiling": "target test slices", "floor": "target training slices", "oracle": "source test slices"}
        return _Images(label.get(self.role, self.label), self.where, self.key)


def _cannot(task: Task, subject: _Subject, needs: tuple[Any, ...]) -> str:
    """Why a metric cannot be computed for this task, or an empty text."""
    if "predicted_masks" in needs and subject.segmenter_domain not in task.masks:
        return f"the {subject.segmenter_domain} domain has no masks to train a segmenter on"
    if "reference_masks" in needs and subject.where["domain"] not in task.masks:
        return f"the {subject.where['domain']} domain has no masks to compare with"
    if "paired" in needs and not task.paired:
        return "the task has no paired truth"
    return ""


def _trains(translator: _Choice) -> bool:
    trains = translator.spec.trains
    return bool(trains(translator.params)) if callable(trains) else bool(trains)


def _split_text(settings: Mapping[str, Any]) -> str:
    rest = {k: v for k, v in settings.items() if k not in ("by", "fold")}
    return format_call(str(settings["by"]), rest)


def _json(value: Mapping[str, Any]) -> str:
    from mtbench.store.artefacts import canonical

    return canonical(dict(value))


@cache
def _stage_revision(stage: str) -> int:
    return int(importlib.import_module(f"mtbench.stages.{stage}").STAGE_REVISION)
