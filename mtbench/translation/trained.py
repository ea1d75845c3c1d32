"""The translators that a run has trained, found through its results and the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError, StoreError, close_matches
from mtbench.registry.params import complete, format_call, parse_call
from mtbench.registry.registry import Registered, Registry
from mtbench.registry.specs import TranslatorSpec
from mtbench.results.directory import Results, load
from mtbench.stages.unit import Unit, unit_of
from mtbench.store.artefacts import Artefact, Store
from mtbench.translation.models import Model, recorded


@dataclass(frozen=True)
class Candidate:
    """A trained (or ready) translator in a results directory.

    Attributes:
        name, dataset, fold: as the suite calls them.
        artefact: its fit; of one that needs none, a translation.
        stage: which of the two.
    """

    name: str
    dataset: str
    fold: int | None
    artefact: Artefact
    stage: str

    @cached_property
    def unit(self) -> Unit:
        """The unit that made the artefact."""
        return unit_of(self.artefact)

    def text(self, declared: Mapping[str, Any]) -> str:
        """One line for a list."""
        params = {
            k: v
            for k, v in self.unit.params.items()
            if k in declared and v != declared[k].default and declared[k].shown
        }
        words = [format_call(self.name, params), f"dataset {self.dataset}"]
        words += [] if self.fold is None else [f"fold {self.fold}"]
        words += [] if self.unit.seed is None else [f"seed {self.unit.seed}"]
        return ", ".join(words)


def from_results(
    registry: Registry, call: str, results: Path, store: Store, dataset: str | None, fold: int | None, seed: int | None
) -> Model:
    """The translator that a run has trained.

    Raises:
        RequestError: there is none like that, or several; the text lists them.
        StoreError: its fit is no longer in the store.
    """
    found, gone = _candidates(results, store)
    name = parse_call(call)[0]
    named = [c for c in found if name in (c.name, c.unit.plugin)]
    if not named:
        _refuse(registry, name, results, store, found, gone)
    plugin = named[0].unit.plugin
    registered, typed = registry.call(TranslatorSpec, plugin + call[len(name) :])
    declared = registered.spec.params
    checked = complete(typed, declared, f"translator '{plugin}'")
    wanted = {key: checked[key] for key in typed}
    fitting = [
        c
        for c in named
        if (dataset is None or c.dataset == dataset)
        and (fold is None or c.fold == fold)
        and (seed is None or c.unit.seed == seed)
        and all(c.unit.params.get(key) == value for key, value in wanted.items() if not declared[key].runs_program)
    ]
    if len(fitting) != 1:
        what = f"{len(fitting)} of its translators" if fitting else "none of its translators"
        shown = "; ".join(sorted(c.text(declared) for c in fitting or named))
        raise RequestError(
            f"{what} fit{'' if fitting else 's'} '{call}'",
            where=str(results),
            expected=f"one. There are: {shown}",
            remedy="Choose with --dataset, --fold, --seed or NAME:PARAMETER=VALUE",
        )
    return _model(registered, typed, fitting[0], results, store)


def _refuse(
    registry: Registry, name: str, results: Path, store: Store, found: list[Candidate], gone: list[str]
) -> None:
    if not found and gone:
        raise StoreError(
            f"the fits of this run are not in the store {store.root} ({gone[0]}, ...)",
            where=str(results),
            remedy="Say with --store where they are, or run the suite again",
        )
    names = sorted({c.name for c in found})
    if name not in names:
        registry.get(TranslatorSpec, name)
    raise RequestError(
        f"there is no trained '{name}'" if found else "no translator was trained or used here",
        where=str(results),
        expected="one of " + ", ".join(names) if names else "the results of a run",
        matches=close_matches(name, names),
    )


def _candidates(results: Path, store: Store) -> tuple[list[Candidate], list[str]]:
    """What has been trained, and the names of units whose artefact is gone."""
    Results.open(results)
    datasets = sorted(set(load(results).column("dataset").to_pylist()), key=len, reverse=True)
    latest = {
        row["unit_key"]: row
        for row in load(results, "attempts").to_pylist()
        if row["stage"] in ("fit", "translate") and row["status"] in ("ok", "cached")
    }
    found: dict[str, Candidate] = {}
    gone = []
    for row in latest.values():
        artefact = store.get(row["stage"], row["artefact"])
        if artefact is None:
            gone.append(row["name"])
            continue
        unit = unit_of(artefact)
        if unit.kind != "translator" or (row["stage"] == "translate" and "fit" in unit.inputs):
            continue
        rest = row["name"].removeprefix(f"{row['stage']} ")
        dataset = next((d for d in datasets if rest.startswith(f"{d} ")), unit.task.dataset)
        rest = rest.removeprefix(f"{dataset} ")
        fold = re.match(r"fold (\d+) ", rest)
        name = re.split(r"[\[ ]", rest[fold.end() :] if fold else rest)[0]
        candidate = Candidate(name, dataset, int(fold[1]) if fold else None, artefact, row["stage"])
        # One that needs no fit is the same for every side it has translated.
        key = artefact.path.name if row["stage"] == "fit" else candidate.text({}) + json.dumps(dict(unit.params))
        found.setdefault(key, candidate)
    return list(found.values()), gone


def _model(
    registered: Registered[TranslatorSpec],
    typed: Mapping[str, Any],
    chosen: Candidate,
    results: Path,
    store: Store,
) -> Model:
    unit = chosen.unit
    # What was typed says the same, unless it runs a program: that comes from the user alone.
    given = {**typed, **recorded(unit, registered)}
    params = registered.complete(given)
    notes = [registered.ask(registered.spec.note, params)]
    revision = (chosen.artefact.manifest.get("plugin") or {}).get("revision")
    if revision != registered.spec.revision:
        notes.append(
            f"it was trained with revision {revision} of the plugin, this is revision {registered.spec.revision}"
        )
    return Model(
        registered,
        params,
        registered.ask(registered.spec.whether, "conditional", params),
        chosen.artefact.path if chosen.stage == "fit" else None,
        seed=unit.seed or 0,
        precision=unit.precision,
        threads=unit.threads,
        task=replace(unit.task, dataset=chosen.dataset),
        data=_data(chosen, results, store),
        notes=tuple(filter(None, notes)),
    )


def _data(chosen: Candidate, results: Path, store: Store) -> Artefact | None:
    """The prepared data set that it was trained on, if it is still in the store."""
    fallback = None
    for row in load(results, "attempts").to_pylist():
        if row["stage"] == "prepare" and row["status"] in ("ok", "cached"):
            artefact = store.get("prepare", row["artefact"])
            if artefact is not None and artefact.digest == chosen.artefact.manifest["inputs"].get("data"):
                return artefact
            if row["name"] == f"prepare {chosen.dataset}":
                fallback = artefact or fallback
    return fallback
