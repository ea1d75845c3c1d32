"""What a row was computed from: the content of its data, the versions of its plugins, and what a later run compares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtbench.hashing import canonical, hash_of
from mtbench.plan import Plan, Row
from mtbench.plan.choices import SHORT
from mtbench.registry.codeid import changed_elsewhere
from mtbench.results.entries import Source
from mtbench.stages.table import STAGES, FitOptions, ScoreOptions, Subset, reads
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact

_COLUMNS = {
    "translator": "translator_version",
    "segmenter": "segmenter_version",
    "metric": "metric_version",
    "extractor": "metric_version",
}
"""The column that holds a plugin's version, by its kind."""

_OMISSIONS = 3
"""The most excluded cases that are named."""


@dataclass
class Origin:
    """What a row was computed from, as far as the units before it have finished.

    Attributes:
        data: a hash of the scored test images; empty if unknown.
        content: by column, the hashes of the other data that were read: training slices, test masks.
        versions: by column, what may change results under the same name and parameters.
        unknown: the columns of ``versions`` that are not complete yet.
        left_out: the cases excluded during preparation, with reasons.
        clamped: the share of the translations' pixels outside [0, 1]; ``None`` without translations.
        sources: what a later run compares; see ``mtbench/results/currency.py``.
        others: other sources that this run has read; other rows may have been computed from them.
        notes: sentences that a reader must know.
    """

    data: str = ""
    content: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    left_out: str = ""
    clamped: float | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    others: dict[str, Source] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def columns(self) -> dict[str, str | float | None]:
        """The columns of the scores table; a version is empty until it is complete."""
        versions = {c: "" if c in self.unknown else canonical(version) for c, version in self.versions.items()}
        data = {"data_sha256": self.data} if self.data else {}
        content = {column: hash_of(parts) for column, parts in self.content.items()}
        return {**data, **content, **versions, "left_out": self.left_out, "clamped": self.clamped}


def origin(plan: Plan, row: Row, units: Sequence[Unit], artefacts: Mapping[str, Artefact]) -> Origin:
    """What a row was computed from.

    Args:
        plan: the plan.
        row: a row of the plan.
        units: the row's unit and all units that it depends on.
        artefacts: of the units that have succeeded, by key.
    """
    result = Origin()
    data = hash_of([row.columns[name] for name in ("dataset", "dataset_params", "split", "fold")])[:SHORT]
    for unit in units:
        artefact = artefacts.get(unit.key)
        if unit.stage == "split" and artefact is not None:
            tables, contents = _of_all_folds(artefact.path), _contents(artefact.path)
            result.others = _subsets(contents["contents"], data, unit.task.dataset)
            images = {domain: of[_scored_on(row)]["images"] for domain, of in tables.items()}
            result.data = hash_of([images, contents["task"]])
        if unit.stage == "prepare" and artefact is not None:
            result.left_out = _omissions(artefact.info.get("left_out", ()))
        if unit.stage == "translate" and artefact is not None:
            result.clamped = max(result.clamped or 0.0, float(artefact.info.get("clamped", 0.0)))
        if unit.kind in _COLUMNS:
            _add_version(result, plan, unit, artefact)
            _add_code(result, plan, unit, artefact, data)
            _add_data(result, unit, artefacts.get(unit.inputs["split"]), data, row)
    result.notes += _masks_read(units)
    return result


def _scored_on(row: Row) -> str:
    return str(row.columns.get("scored_on", "test"))


def _masks_read(units: Sequence[Unit]) -> list[str]:
    """A note for a row whose segmenter is trained without target masks, if a translator's fit has read some."""
    fits = [(unit, unit.options) for unit in units if isinstance(unit.options, FitOptions)]
    if not any(unit.kind == "segmenter" and "target" not in options.domains for unit, options in fits):
        return []
    return [
        f"'{unit.name}' read masks of the target's training slices"
        for unit, options in fits
        if unit.kind == "translator" and options.masks and "target" in unit.task.masks
    ]


def _omissions(cases: Sequence[Mapping[str, str]]) -> str:
    if not cases:
        return ""
    reasons = "; ".join(f"{item['case']}: {item['reason']}" for item in cases[:_OMISSIONS])
    more = f"; and {len(cases) - _OMISSIONS} more" if len(cases) > _OMISSIONS else ""
    count = "1 case could not be used and is" if len(cases) == 1 else f"{len(cases)} cases could not be used and are"
    return f"{count} excluded during preparation ({reasons}{more})"


def _add_version(result: Origin, plan: Plan, unit: Unit, artefact: Artefact | None) -> None:
    column = _COLUMNS[unit.kind]
    if unit.paths and artefact is None:
        result.unknown.add(column)
    parts, info = dict(unit.version), artefact.info if artefact else {}
    # The sha256 of a network's weights has its own column.
    if artefact and unit.paths and not (unit.kind == "extractor" and info.get("weights_sha256")):
        parts["files sha256"] = artefact.manifest["files_fingerprint"][:SHORT]
    # A translator may be trained without some weight files; it is a different translator then.
    if unit.stage in ("fit", "translate") and info.get("weights"):
        parts[f"{unit.stage} weights"] = ",".join(info["weights"])
    if unit.stage == "fit" and unit.kind == "extractor":
        parts["seed"] = str(unit.seed)  # Segmenters' have a column.
    if info.get("adopted"):
        parts["adopted"] = hash_of(info["adopted"])[:SHORT]
    if artefact and unit.stage == "fit" and artefact.manifest.get("code") != plan.codes[unit.kind, unit.plugin]:
        parts["fit code"] = str(artefact.manifest.get("code"))[:SHORT]
        result.notes.append(
            f"'{unit.name}' was trained by an earlier version of the code of {unit.kind} '{unit.plugin}'; "
            "`--fresh fit` retrains it"
        )
    if artefact and unit.stage == "fit" and (modules := changed_elsewhere(artefact.manifest.get("imports", {}))):
        parts["fit imports"] = hash_of(artefact.manifest["imports"])[:SHORT]
        result.notes.append(
            f"'{unit.name}' was trained with other versions of {', '.join(modules[:5])}; `--fresh fit` retrains it"
        )
    # A metric may read features of several networks.
    of = f"{unit.plugin} " if unit.kind == "extractor" else ""
    result.versions.setdefault(column, {}).update({of + name: value for name, value in parts.items()})


def _add_code(result: Origin, plan: Plan, unit: Unit, artefact: Artefact | None, data: str) -> None:
    """The plugin's code, the stage's revision, the files that the plugin read, and the fit."""
    plugin, sources = f"{unit.kind} '{unit.plugin}'", result.sources
    code = hash_of([unit.version.get("revision"), plan.codes[unit.kind, unit.plugin]])
    sources[f"code {unit.kind} {unit.plugin}"] = Source(code[:SHORT], f"the code of {plugin} has changed")
    revision = str(STAGES[unit.stage].revision)
    sources[f"stage {unit.stage}"] = Source(revision, f"the stage '{unit.stage}' of mtbench has changed")
    if artefact is None:
        return
    identity = hash_of([unit.kind, unit.plugin, dict(unit.params)])[:SHORT]
    if unit.paths:
        files = artefact.manifest["files_fingerprint"][:SHORT]
        sources[f"files {unit.stage} {identity}"] = Source(files, f"the files of {plugin} have changed")
    if unit.stage == "fit":
        name = f"fit {data} {identity} {unit.name} {unit.seed}"
        sources[name] = Source(artefact.digest[:SHORT], f"'{unit.name}' has been recomputed")


def _add_data(result: Origin, unit: Unit, split: Artefact | None, data: str, row: Row) -> None:
    """The slices that the unit reads; training data belong to the row or the segmenter, not to the block."""
    if split is None:
        return
    part, tables = reads(unit.options), _of_all_folds(split.path)
    subsets = _subsets(_contents(split.path)["contents"], data, unit.task.dataset)
    for subset in part.subsets:
        for kind in ("images", "masks") if part.masks else ("images",):
            name = f"data {data} {subset.domain} {subset.split} {kind}"
            result.sources[name] = subsets[name]
            # Only a segmenter reads translations of training slices; these belong to its training data.
            if (
                subset.split != "test"
                and unit.stage != "translate"
                and (unit.stage == "fit" or subset.split != _scored_on(row))
            ):
                content = tables[subset.domain][subset.split][kind]
                for column in _training_columns(unit, subset, row.columns["role"] == "floor"):
                    result.content.setdefault(column, {})[f"{subset.domain} {subset.split} {kind}"] = content
    if part.masks and unit.kind in ("translator", "metric"):
        column = "training_sha256" if unit.kind == "translator" else "masks_sha256"
        split_of = "test" if unit.kind == "translator" else _scored_on(row)
        masks = hash_of([of[split_of]["masks"] for of in tables.values()])
        result.content.setdefault(column, {})["test masks"] = masks


def _training_columns(unit: Unit, subset: Subset, floor: bool) -> list[str]:
    """The columns that training slices belong to: those of a segmenter's fit, a translator's fit, or a metric.

    The floor's own images are training slices, of which an extractor or a segmenter makes features.
    """
    if unit.stage == "fit" and unit.kind == "extractor":
        return ["metric_training_sha256"]
    if unit.kind == "segmenter" and unit.stage != "extract":
        return ["segmenter_training_sha256"]
    if unit.stage == "extract":
        return ["training_sha256" if floor else "metric_training_sha256"]
    if isinstance(unit.options, ScoreOptions) and unit.options.training == subset:
        return ["metric_training_sha256", *(["training_sha256"] if floor else [])]
    return ["training_sha256"]


def _subsets(contents: Mapping[str, Any], data: str, dataset: str) -> dict[str, Source]:
    return {
        f"data {data} {domain} {split} {kind}": Source(
            content[:SHORT], f"the {domain} {split} {kind} of '{dataset}' have changed"
        )
        for domain, of in contents.items()
        for split, kinds in of.items()
        for kind, content in kinds.items()
    }


@lru_cache(maxsize=64)
def _contents(split: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((split / "split.json").read_text(encoding="utf-8"))
    return content


def _of_all_folds(split: Path) -> dict[str, dict[str, dict[str, str]]]:
    """By domain, split and kind, the content by which tables distinguish data: the same for all folds of a division."""
    content = _contents(split)
    tables: dict[str, dict[str, dict[str, str]]] = content.get("of_all_folds", content["contents"])
    return tables
