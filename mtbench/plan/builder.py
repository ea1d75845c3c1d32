"""Makes units: one for everything that is asked, however many rows ask for it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mtbench.data import Task
from mtbench.plan.choices import Choice, choices
from mtbench.plan.graph import Plan, Unit
from mtbench.plan.suite import Entry, Suite
from mtbench.registry.codeid import code_identity
from mtbench.registry.discovery import Registry
from mtbench.registry.specs import Features
from mtbench.store.artefacts import hash_of

_EXACT = ("prepare", "split")
"""Stages without floating-point arithmetic worth a thread count: precision and threads are not in their keys."""


@dataclass(frozen=True)
class Images:
    """An image set in the graph.

    Attributes:
        label: what a person calls it.
        where: its domain and split.
        key: the unit that made its pixels; empty for real slices.
    """

    label: str
    where: Mapping[str, str]
    key: str = ""


@dataclass
class Builder:
    """Adds units to a plan, for one dataset and one fold.

    Attributes:
        suite, registry, plan: what is planned, with what, into what.
        task: of the dataset.
        short: the dataset's name, and the fold.
        base: the keys of its prepare and split units, by role.
    """

    suite: Suite
    registry: Registry
    plan: Plan
    task: Task
    short: str
    base: Mapping[str, str]

    @staticmethod
    def start(suite: Suite, registry: Registry, plan: Plan, dataset: Choice, fold: int | None) -> Builder:
        """The builder of a dataset and fold, its prepare and split units made."""
        task = dataset.ask(dataset.spec.task, dataset.params, dataset.entry.name)
        if dataset.entry.note:
            task = replace(task, note=dataset.entry.note)
        short = dataset.entry.name + (f" fold {fold}" if fold is not None else "")
        builder = Builder(suite, registry, plan, task, short, {})
        data = builder.unit(
            "prepare",
            f"prepare {dataset.entry.name}",
            choice=dataset,
            apart={"root": dataset.entry.root or "", "dataset": dataset.entry.name},
        )
        settings = split_settings(dataset, fold)
        paths = {"split_file": str(suite.path(settings["file"]))} if settings.get("file") else {}
        split = builder.unit("split", f"split {short}", inputs={"data": data}, options=settings, paths=paths)
        return replace(builder, base={"data": data, "split": split})

    def unit(
        self,
        stage: str,
        name: str,
        *,
        choice: Choice | None = None,
        seed: int | None = None,
        inputs: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        paths: Mapping[str, str] | None = None,
        apart: Mapping[str, str] | None = None,
    ) -> str:
        """The key of the unit that does this; it is added if nobody asked for it before.

        ``apart`` keeps units of one plan apart without being part of what is asked: the same files prepared
        under another name or from another folder are the same artefact.
        """
        plugin = None
        if choice is not None:
            plugin = {
                "kind": choice.spec.kind,
                "name": choice.spec.name,
                "revision": choice.spec.revision,
                "code": code_identity(choice.registered),
            }
        exact = stage in _EXACT
        asked: dict[str, Any] = {
            "stage": stage,
            "params": dict(choice.params) if choice else {},
            "seed": seed,
            "options": dict(options or {}),
            "precision": "fp32" if exact else self.suite.precision,
            "threads": 1 if exact else self.suite.threads,
        }
        identity = {k: v for k, v in asked["params"].items() if choice and choice.spec.params[k].identity}
        request = hash_of({**asked, "params": identity, "stage_revision": _stage_revision(stage), "plugin": plugin})
        given = dict(inputs or {})
        key = hash_of([request, given, *([dict(apart)] if apart else [])])
        if key not in self.plan.units:
            self.plan.units[key] = Unit(
                key=key,
                request=request,
                name=name,
                inputs=given,
                kind=choice.spec.kind if choice else "",
                plugin=choice.spec.name if choice else "",
                paths={**(choice.paths if choice else {}), **(paths or {})},
                task=self.task,
                version={**choice.version, f"{stage} stage": str(_stage_revision(stage))} if choice else {},
                **asked,
            )
        return key

    def fit(
        self, choice: Choice, label: str, seed: int | None, domains: list[str], made: Mapping[str, str] | None = None
    ) -> str:
        """A translator's or segmenter's fit on the training and validation slices of ``domains``.

        With ``made``, side to the unit that made its pixels, on translated slices of a single domain.
        """
        pixels = {f"{domains[0]}_{side}": key for side, key in (made or {}).items()}
        spec = choice.spec
        masks = spec.kind == "segmenter" or choice.conditional or spec.trains_on_masks
        return self.unit(
            "fit",
            f"fit {self.short} {label}",
            choice=choice,
            seed=seed,
            inputs={**self.base, **pixels},
            options={"domains": domains, "masks": masks},
        )

    def translate(self, choice: Choice, label: str, seed: int | None, where: Mapping[str, str], fit: str) -> str:
        """Slices through a translator."""
        return self.unit(
            "translate",
            f"translate {self.short} {label}",
            choice=choice,
            seed=seed,
            inputs={**self.base, **({"fit": fit} if fit else {})},
            options={"candidate": where, "conditional": choice.conditional},
        )

    def segment(self, segmenter: Choice, fit: str, images: Images, trained_on: str = "") -> str:
        """Labels of an image set."""
        with_what = f"{segmenter.label} on {trained_on}" if trained_on else segmenter.label
        return self.unit(
            "segment",
            f"segment {self.short} {images.label} with {with_what}",
            choice=segmenter,
            inputs={**self._of(images), "fit": fit},
            options={"candidate": images.where},
        )

    def extract(self, need: Features, images: Images) -> str:
        """Features of an image set."""
        entry = Entry(need.extractor, need.extractor, need.params)
        (choice,) = choices("extractor", (entry,), self.suite, self.registry)
        return self.unit(
            "extract",
            f"extract {self.short} {images.label} with {choice.label}",
            choice=choice,
            inputs=self._of(images),
            options={"candidate": images.where},
        )

    def _of(self, images: Images) -> dict[str, str]:
        return {**self.base, **({"images": images.key} if images.key else {})}


def split_settings(dataset: Choice, fold: int | None) -> dict[str, Any]:
    """How the dataset is divided; "auto" (its own split if it has one, else by seed) where the suite is silent."""
    settings = dict(dataset.entry.split or {"by": "auto"})
    if fold is not None:
        settings["fold"] = fold
    return settings


@cache
def _stage_revision(stage: str) -> int:
    return int(importlib.import_module(f"mtbench.stages.{stage}").STAGE_REVISION)
