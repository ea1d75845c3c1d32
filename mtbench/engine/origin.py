"""What a row is made of, as its columns say it: the content of its data, and the version of each plugin."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from mtbench.hashing import canonical, hash_of
from mtbench.plan.choices import SHORT
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact

_COLUMNS = {
    "translator": "translator_version",
    "segmenter": "segmenter_version",
    "metric": "metric_version",
    "extractor": "metric_version",
}
"""The column that holds a plugin's version, by its kind."""


def origin_columns(units: Iterable[Unit], artefacts: Mapping[str, Artefact]) -> dict[str, str]:
    """The columns of a row that say so; a version is empty as long as the files that a plugin was given are unread.

    Args:
        units: the row's unit and all before it.
        artefacts: of the units that have ended well, by key.
    """
    versions: dict[str, dict[str, str]] = {}
    pending = set()
    columns = {}
    for unit in units:
        artefact = artefacts.get(unit.key)
        if unit.stage == "split" and artefact is not None:
            columns["data_sha256"] = _data(artefact.path)
        if unit.kind not in _COLUMNS:
            continue
        column = _COLUMNS[unit.kind]
        if unit.paths and artefact is None:
            pending.add(column)
        # What was not known before the unit ran: files, and a fit that was not made by training.
        parts, info = dict(unit.version), artefact.info if artefact else {}
        # The sha256 of a network's weights has a column of its own.
        if artefact and unit.paths and not (unit.kind == "extractor" and info.get("weights_sha256")):
            parts["files sha256"] = artefact.manifest["files_fingerprint"][:SHORT]
        # A translator may do without some weight files, and is another one then.
        if unit.stage in ("fit", "translate") and info.get("weights"):
            parts[f"{unit.stage} weights"] = ",".join(info["weights"])
        if info.get("adopted"):
            parts["adopted"] = hash_of(info["adopted"])[:SHORT]
        # A metric may read features of several networks.
        of = f"{unit.plugin} " if unit.kind == "extractor" else ""
        versions.setdefault(column, {}).update({of + name: value for name, value in parts.items()})
    return {**columns, **{c: "" if c in pending else canonical(version) for c, version in versions.items()}}


@lru_cache(maxsize=64)
def _data(split: Path) -> str:
    return str(json.loads((split / "split.json").read_text(encoding="utf-8"))["data"])
