"""A unit as it is handed to whoever runs it: plain JSON, so that no pickle crosses a process or a machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mtbench.data import Task
from mtbench.plan import Unit
from mtbench.registry.discovery import Registered


@dataclass(frozen=True)
class Job:
    """One unit, ready to run.

    Attributes:
        unit: the unit's fields.
        address: where its artefact goes.
        inputs: role to (stage, address) of the artefacts it reads.
        digests: role to the digest of those, recorded in the manifest.
        given: what of them this unit reads, by content: what the address was made of.
        store: the store's folder.
        device, batch_size: how to run it; neither changes a result beyond rounding. An empty device is the best
            one that the process at work can see.
        files: the fingerprint of the raw files it reads.
        plugin: where its plugin is, see ``mtbench.registry.discovery.Plugin.reference``; empty for the split stage.
        code: the identity that the plugin's code had when the plan was made, where that code may change.
        strict: whether a data set is refused when cases of it have to be left out.
        timeout: seconds it may take, or ``None``.
        memory_mb: resident memory that its processes may take together, or ``None``.
        lease: file and content of the claim on the unit, looked at again before its artefact is committed.
        events: folder for the TensorBoard events of a fit; empty for none.
    """

    unit: Mapping[str, Any]
    address: str
    inputs: Mapping[str, tuple[str, str]]
    digests: Mapping[str, str]
    store: str
    device: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 8
    files: str = ""
    plugin: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None
    strict: bool = False
    timeout: float | None = None
    memory_mb: float | None = None
    lease: tuple[str, str] | None = None
    events: str = ""

    @property
    def key(self) -> str:
        """The unit's key."""
        return str(self.unit["key"])

    def to_json(self) -> str:
        """The text a worker process reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Job:
        """The job that :meth:`to_json` wrote."""
        raw = json.loads(text)
        raw["inputs"] = {role: tuple(where) for role, where in raw["inputs"].items()}
        raw["lease"] = tuple(raw["lease"]) if raw["lease"] else None
        return Job(**raw)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        key: the unit's key.
        status: "ok", "error", "timeout", "oom" or "lost".
        reason: one paragraph for people, where it is not ok.
        error_type: the exception's class.
        log: the traceback, for the log file.
        digest: of the committed artefact.
        seconds, images, peak_memory_mb, device, started: what it cost.
        info: what the stage noted.
    """

    key: str
    status: str
    reason: str = ""
    error_type: str = ""
    log: str = ""
    digest: str = ""
    seconds: float = 0.0
    images: int | None = None
    peak_memory_mb: float | None = None
    device: str = ""
    started: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text a worker process leaves."""
        return json.dumps(asdict(self), sort_keys=True, default=str)

    @staticmethod
    def from_json(text: str) -> Outcome:
        """The outcome that :meth:`to_json` wrote."""
        return Outcome(**json.loads(text))


def manifest_of(job: Job, registered: Registered | None) -> dict[str, Any]:
    """What is known of a job's artefact before it is made."""
    return {
        "format": 1,
        "key": job.key,
        "stage": job.unit["stage"],
        "unit": job.unit,
        "inputs": dict(job.digests),
        "given": dict(job.given),
        "files_fingerprint": job.files,
        "plugin": None
        if registered is None
        else {
            "distribution": registered.plugin.distribution,
            "version": registered.plugin.version,
            "revision": registered.spec.revision,
        },
    }


def events_folder(unit: Unit, results: Path) -> str:
    """Where a fit leaves TensorBoard events: with the results or below ``MTBENCH_TENSORBOARD`` (empty: nowhere)."""
    base = os.environ.get("MTBENCH_TENSORBOARD", str(results / "tensorboard"))
    if unit.stage != "fit" or not base:
        return ""
    _, _, plain = re.sub(r"\[.*\]", "", unit.name).partition(" ")
    return str(Path(base).resolve() / re.sub(r"[^\w.]+", "-", f"{plain} {unit.key[:8]}"))


def unit_to_dict(unit: Unit) -> dict[str, Any]:
    """A unit as plain JSON values."""
    task = {**vars(unit.task)}
    task["labels"] = {str(k): v for k, v in unit.task.labels.items()}
    task["regions"] = {k: list(v) for k, v in unit.task.regions.items()}
    task["masks"] = sorted(unit.task.masks)
    return {
        **{name: getattr(unit, name) for name in unit.__dataclass_fields__ if name != "task"},
        "params": dict(unit.params),
        "paths": dict(unit.paths),
        "task": task,
    }


def task_from_dict(raw: Mapping[str, Any]) -> Task:
    """The task that :func:`unit_to_dict` wrote."""
    return Task(
        **{
            **raw,
            "labels": {int(k): v for k, v in raw["labels"].items()},
            "regions": {k: tuple(v) for k, v in raw["regions"].items()},
            "masks": frozenset(raw["masks"]),
        }
    )
