"""Builds units: one for each request, however many rows need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from mtbench.data import Split, Task
from mtbench.hashing import hash_of
from mtbench.plan.choices import Choice
from mtbench.plan.graph import Plan
from mtbench.plan.suite import Suite
from mtbench.registry.basespec import Spec
from mtbench.registry.codeid import code_identity
from mtbench.registry.registry import Registry
from mtbench.registry.specs import DatasetSpec, ExtractorSpec, SegmenterSpec, TranslatorSpec
from mtbench.stages.table import (
    STAGES,
    FitOptions,
    ImageOptions,
    Options,
    PrepareOptions,
    SplitOptions,
    Subset,
)
from mtbench.stages.unit import Unit

_NONE: Mapping[Any, str] = MappingProxyType({})


@dataclass(frozen=True)
class Images:
    """An image set in the graph.

    Attributes:
        label: its printed name.
        where: the slices that it consists of.
        key: the unit that computes its pixels; empty for real slices.
    """

    label: str
    where: Subset
    key: str = ""


@dataclass
class Builder:
    """Adds units to a plan, for one dataset and one fold.

    Attributes:
        suite, registry, plan: the suite, its plugins, and the plan to extend.
        task: of the dataset.
        short: the dataset's name and the fold.
        split: how the dataset is divided; "auto" (its own split if it has one, else by seed) by default.
        base: the keys of its prepare and split units, by role.
        paired_fraction: the fraction of the training patients whose pairs a fit receives; see ``FitOptions``.
    """

    suite: Suite
    registry: Registry
    plan: Plan
    task: Task
    short: str
    split: SplitOptions
    base: Mapping[str, str]
    paired_fraction: float = 1.0
    _requests: dict[object, tuple[str, str]] = field(default_factory=dict)

    @staticmethod
    def start(suite: Suite, registry: Registry, plan: Plan, dataset: Choice[DatasetSpec], fold: int | None) -> Builder:
        """The builder of a dataset and fold, with its prepare and split units."""
        task = dataset.registration.ask(dataset.spec.task, dataset.params, dataset.entry.name)
        if dataset.entry.note:
            task = replace(task, note=dataset.entry.note)
        short = dataset.entry.name + (f" fold {fold}" if fold is not None else "")
        options = replace(dataset.entry.split or SplitOptions(), fold=fold)
        builder = Builder(suite, registry, plan, task, short, options, {})
        data = builder.unit(
            "prepare",
            f"prepare {dataset.entry.name}",
            PrepareOptions(),
            choice=dataset,
            apart={"root": dataset.entry.root or "", "dataset": dataset.entry.name},
        )
        paths = {"split_file": str(suite.path(options.file))} if options.file else {}
        split = builder.unit("split", f"split {short}", options, inputs={"data": data}, paths=paths)
        return replace(builder, base={"data": data, "split": split})

    def unit(
        self,
        stage: str,
        name: str,
        options: Options,
        *,
        choice: Choice[Spec[Any]] | None = None,
        seed: int | None = None,
        inputs: Mapping[str, str] = _NONE,
        paths: Mapping[str, str] = _NONE,
        apart: Mapping[str, str] = _NONE,
    ) -> str:
        """The key of the unit for this request, which is added if the plan does not contain it.

        ``apart`` distinguishes units of one plan without being part of the request: the same files prepared under
        another name or from another folder are the same artefact.
        """
        kind = STAGES[stage]
        precision, threads = self._arithmetic(stage)
        # Most units of a large suite differ only in their inputs. The plan's choices outlive the builder.
        asked = stage, id(choice), seed, options
        if asked not in self._requests:
            self._requests[asked] = self._request(stage, options, choice, seed)
        codeless, request = self._requests[asked]
        key = hash_of([request, dict(inputs), *([dict(apart)] if apart else [])])
        if key not in self.plan.units:
            self.plan.units[key] = Unit(
                key=key,
                request=request,
                codeless=codeless,
                stage=stage,
                name=name,
                task=self.task,
                options=options,
                kind=choice.spec.kind if choice else "",
                plugin=choice.spec.name if choice else "",
                params=dict(choice.params) if choice else {},
                paths={**(choice.paths if choice else {}), **paths},
                seed=seed,
                inputs=dict(inputs),
                precision=precision,
                threads=threads,
                version={**choice.version, f"{stage} stage": str(kind.revision)} if choice else {},
            )
        return key

    def _arithmetic(self, stage: str) -> tuple[str, int]:
        return ("fp32", 1) if STAGES[stage].exact else (self.suite.precision, self.suite.threads)

    def _request(
        self, stage: str, options: Options, choice: Choice[Spec[Any]] | None, seed: int | None
    ) -> tuple[str, str]:
        """The hashes of a unit's request, without its inputs: without the code of its plugin, and with it."""
        plugin, code = None, None
        if choice is not None:
            which = (choice.spec.kind, choice.spec.name)
            if which not in self.plan.codes:
                self.plan.codes[which] = code_identity(choice.registration)
            code = self.plan.codes[which]
            plugin = {"kind": which[0], "name": which[1], "revision": choice.spec.revision}
            if stage == "fit" and not choice.registration.plugin.editable:
                code = None  # Days of training outlive an edit of an installed distribution; the rows say so.
        precision, threads = self._arithmetic(stage)
        asked = {
            "stage": stage,
            "stage_revision": STAGES[stage].revision,
            "plugin": plugin,
            "params": {k: v for k, v in choice.params.items() if choice.spec.params[k].identity} if choice else {},
            "seed": seed,
            "options": options.to_json(),
            "precision": precision,
            "threads": threads,
        }
        codeless = hash_of(asked)
        return codeless, hash_of([codeless, code])

    def fit(
        self,
        choice: Choice[TranslatorSpec] | Choice[SegmenterSpec] | Choice[ExtractorSpec],
        label: str,
        seed: int | None,
        options: FitOptions,
        translations: Mapping[Split, str] = _NONE,
    ) -> str:
        """The fit of a translator, segmenter or extractor.

        With ``translations`` (split to the unit that computes its pixels), on translated slices of a single domain.
        """
        pixels = {f"{options.domains[0]}_{split}": key for split, key in translations.items()}
        return self.unit(
            "fit",
            f"fit {self.short} {label}",
            options,
            choice=choice,
            seed=seed,
            inputs={**self.base, **pixels},
        )

    def fit_on_target(self, choice: Choice[SegmenterSpec] | Choice[ExtractorSpec], called: str, seed: int) -> str:
        """The fit on real target slices of a segmenter, which reads their masks, or of an extractor, which does not."""
        masks = choice.spec.kind == SegmenterSpec.kind
        return self.fit(choice, f"{called} on target", seed, FitOptions(("target",), masks=masks))

    def look(
        self,
        stage: Literal["extract", "segment"],
        choice: Choice[ExtractorSpec] | Choice[SegmenterSpec],
        called: str,
        images: Images,
        inputs: Mapping[str, str] = _NONE,
    ) -> str:
        """The features or labels of an image set by a network; ``called`` is the network's printed name."""
        pixels = {"images": images.key} if images.key else {}
        return self.unit(
            stage,
            f"{stage} {self.short} {images.label} with {called}",
            ImageOptions(images.where),
            choice=choice,
            inputs={**self.base, **pixels, **inputs},
        )
