"""The contents of a kit: ``kit.json`` and the arrays and folders that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtbench.data import Task
from mtbench.errors import DataError
from mtbench.stages.table import ScoreOptions
from mtbench.typed import Record

FILE = "kit.json"
SCHEMA = 1


@dataclass(frozen=True)
class Network(Record):
    """A feature network or a segmenter.

    Attributes:
        plugin, params, revision: of its plugin; parameters without paths.
        folder: for a segmenter, the folder of its weights, relative to the kit; empty for a feature network.
    """

    plugin: str
    params: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Judge(Record):
    """One metric on one task, as in a translator's row of the result.

    Attributes:
        columns: of the ``scores`` table, without those that identify the translator.
        plugin, params, revision: of the metric.
        options: of its unit.
        task: the task.
        size: height and width of the slices.
        slices: sha256 of each source test slice, in order.
        masks: sha256 of each of their masks, if the metric reads them.
        patients: of the target test slices, as numbers.
        features: by array name, the file of the target's features, relative to the kit.
        extractors: the network of each input with the candidate's features.
        segmenter: the segmenter that predicts the labels.
        lacks: why the kit cannot be used for it; empty if it can.
    """

    columns: Mapping[str, Any]
    plugin: str
    params: Mapping[str, Any]
    revision: str
    options: ScoreOptions
    task: Task
    size: tuple[int, int]
    slices: tuple[str, ...]
    masks: tuple[str, ...] = ()
    patients: tuple[int, ...] = ()
    features: Mapping[str, str] = field(default_factory=dict)
    extractors: Mapping[str, Network] = field(default_factory=dict)
    segmenter: Network | None = None
    lacks: str = ""

    @property
    def name(self) -> str:
        """Its printed name."""
        variant = self.columns.get("variant")
        return f"{self.columns['dataset']} {self.columns['metric']}" + (f"[{variant}]" if variant else "")


@dataclass(frozen=True)
class Kit:
    """A kit.

    Attributes:
        level: "protocol", "features" or "segmenter": the shared contents.
        judges: one for each score of a row.
    """

    level: str
    judges: tuple[Judge, ...]

    def write(self, folder: Path) -> None:
        """The kit as the content of ``kit.json``."""
        content = {"schema": SCHEMA, "level": self.level, "judges": [judge.to_json() for judge in self.judges]}
        (folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Kit:
        """Read a kit from a folder.

        Raises:
            DataError: it contains no kit of this schema, or one that names files outside of it.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise DataError(f"the kit has schema {content['schema']}", where=str(path), expected=str(SCHEMA))
            kit = cls(str(content["level"]), tuple(Judge.from_json(raw) for raw in content["judges"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"this is not a kit: {type(error).__name__}: {error}",
                where=str(path),
                expected="a kit of `mtbench kit`",
            ) from error
        for judge in kit.judges:
            for name in (*judge.features.values(), judge.segmenter.folder if judge.segmenter else ""):
                if not (folder / name).resolve().is_relative_to(folder.resolve()):
                    raise DataError(f"the kit names {name}, which is outside of it", where=str(path))
        return kit
