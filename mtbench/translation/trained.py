"""The trained translators of a run, from its results and the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError, StoreError, close_matches
from mtbench.registry.params import complete, format_call, parse_call
from mtbench.registry.registry import Registration, Registry
from mtbench.registry.specs import TranslatorSpec
from mtbench.results.directory import Results, load
from mtbench.stages.table import FitOptions
from mtbench.stages.unit import Unit, unit_of
from mtbench.store.artefacts import Artefact, Store
from mtbench.translation.models import Model, recorded_params


@dataclass(frozen=True)
class Candidate:
    """A trained (or ready) translator in a results directory.

    Attributes:
        name, dataset, fold: as in the suite.
        artefact: its fit; a translation if it needs none.
        stage: which of the two.
    """

    name: str
    dataset: str
    fold: int | None
    artefact: Artefact
    stage: str

    @cached_property
    def unit(self) -> Unit:
        """The unit that computed the artefact."""
        return unit_of(self.artefact)

    @cached_property
    def data(self) -> str:
        """Its training data as ``--dataset`` names them: the data set and how much of it, if not all."""
        options = self.unit.options
        fit = options if isinstance(options, FitOptions) else FitOptions()
        part = {"paired_fraction": fit.paired_fraction, "target_patients": fit.target_patients}
        whole = FitOptions()
        return format_call(self.dataset, {name: value for name, value in part.items() if value != getattr(whole, name)})

    def text(self, specs: Mapping[str, Any]) -> str:
        """One line of a list."""
        params = {k: v for k, v in self.unit.params.items() if k in specs and v != specs[k].default and specs[k].shown}
        words = [format_call(self.name, params), f"dataset {self.data}"]
        words += [] if self.fold is None else [f"fold {self.fold}"]
        words += [] if self.unit.seed is None else [f"seed {self.unit.seed}"]
        return ", ".join(words)


def from_results(
    registry: Registry, call: str, results: Path, store: Store, dataset: str | None, fold: int | None, seed: int | None
) -> Model:
    """A translator that a run has trained.

    Raises:
        RequestError: none matches, or several do; the text lists them.
        StoreError: its fit is no longer in the store.
    """
    candidates, lost = _candidates(results, store)
    name = parse_call(call)[0]
    matches = [c for c in candidates if name in (c.name, c.unit.plugin)]
    if not matches:
        _refuse(registry, name, results, store, candidates, lost)
    plugin = matches[0].unit.plugin
    registration, params_typed = registry.call(TranslatorSpec, plugin + call[len(name) :])
    specs = registration.spec.params
    values = complete(params_typed, specs, f"translator '{plugin}'")
    conditions = {key: values[key] for key in params_typed}
    choices = [
        c
        for c in matches
        if (dataset is None or c.data == dataset)
        and (fold is None or c.fold == fold)
        and (seed is None or c.unit.seed == seed)
        and all(c.unit.params.get(key) == value for key, value in conditions.items() if not specs[key].runs_program)
    ]
    if len(choices) != 1:
        subject = f"{len(choices)} of its translators" if choices else "none of its translators"
        alternatives = "; ".join(sorted(c.text(specs) for c in choices or matches))
        raise RequestError(
            f"{subject} match{'' if choices else 'es'} '{call}'",
            where=str(results),
            expected=f"exactly one. Available: {alternatives}",
            remedy="Choose with --dataset, --fold, --seed or NAME:PARAMETER=VALUE",
        )
    return _model(registration, params_typed, choices[0], results, store)


def _refuse(
    registry: Registry, name: str, results: Path, store: Store, candidates: list[Candidate], lost: list[str]
) -> None:
    if not candidates and lost:
        raise StoreError(
            f"the fits of this run are not in the store {store.root} ({lost[0]}, ...)",
            where=str(results),
            remedy="Name their store with --store, or rerun the suite",
        )
    names = sorted({c.name for c in candidates})
    if name not in names:
        registry.get(TranslatorSpec, name)
    raise RequestError(
        f"this run has no trained '{name}'" if candidates else "this run has no translators",
        where=str(results),
        expected="one of " + ", ".join(names) if names else "the results of a run",
        matches=close_matches(name, names),
    )


def _candidates(results: Path, store: Store) -> tuple[list[Candidate], list[str]]:
    """The trained translators, and the names of units whose artefact is no longer in the store."""
    Results.open(results)
    datasets = sorted(set(load(results).column("dataset").to_pylist()), key=len, reverse=True)
    latest = {
        row["unit_key"]: row
        for row in load(results, "attempts").to_pylist()
        if row["stage"] in ("fit", "translate") and row["status"] in ("ok", "cached")
    }
    candidates: dict[str, Candidate] = {}
    lost = []
    for row in latest.values():
        artefact = _whole(store, row["stage"], row["artefact"])
        if artefact is None:
            lost.append(row["name"])
            continue
        unit = unit_of(artefact)
        if unit.kind != "translator" or (row["stage"] == "translate" and "fit" in unit.inputs):
            continue
        label = row["name"].removeprefix(f"{row['stage']} ")
        dataset = next((d for d in datasets if label.startswith(f"{d} ")), unit.task.dataset)
        label = label.removeprefix(f"{dataset} ")
        fold = re.match(r"fold (\d+) ", label)
        name = re.split(r"[\[ ]", label[fold.end() :] if fold else label)[0]
        candidate = Candidate(name, dataset, int(fold[1]) if fold else None, artefact, row["stage"])
        # A translator without a fit is the same for every split.
        key = artefact.path.name if row["stage"] == "fit" else candidate.text({}) + json.dumps(dict(unit.params))
        candidates.setdefault(key, candidate)
    return list(candidates.values()), lost


def _model(
    registration: Registration[TranslatorSpec],
    params_typed: Mapping[str, Any],
    candidate: Candidate,
    results: Path,
    store: Store,
) -> Model:
    unit = candidate.unit
    # The typed parameters agree, except for those that run a program, which only the user may set.
    values = {**params_typed, **recorded_params(unit, registration)}
    params = registration.complete(values)
    notes = [registration.ask(registration.spec.note, params)]
    revision = (candidate.artefact.manifest.get("plugin") or {}).get("revision")
    if revision != registration.spec.revision:
        notes.append(
            f"it was trained with revision {revision} of the plugin, this is revision {registration.spec.revision}"
        )
    return Model(
        registration,
        params,
        registration.ask(registration.spec.whether, "conditional", params),
        candidate.artefact.path if candidate.stage == "fit" else None,
        seed=unit.seed or 0,
        precision=unit.precision,
        threads=unit.threads,
        task=replace(unit.task, dataset=candidate.dataset),
        data=_data(candidate, results, store),
        notes=tuple(filter(None, notes)),
    )


def _data(candidate: Candidate, results: Path, store: Store) -> Artefact | None:
    """The prepared data set of its training, if it is still in the store."""
    fallback = None
    for row in load(results, "attempts").to_pylist():
        if row["stage"] == "prepare" and row["status"] in ("ok", "cached"):
            artefact = _whole(store, "prepare", row["artefact"])
            if artefact is not None and artefact.digest == candidate.artefact.manifest["inputs"].get("data"):
                return artefact
            if row["name"] == f"prepare {candidate.dataset}":
                fallback = artefact or fallback
    return fallback


def _whole(store: Store, stage: str, address: str) -> Artefact | None:
    artefact = store.get(stage, address)
    if artefact is not None:
        with closing(store.hashes()) as hashes:
            artefact.check(hashes)
    return artefact
