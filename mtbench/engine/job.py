"""A unit in the form that executors receive: plain JSON, so that no pickle crosses a process or a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtbench.registry.plugin import PluginReference
from mtbench.stages.unit import Unit
from mtbench.typed import Record


@dataclass(frozen=True)
class Input(Record):
    """An artefact that a unit reads: its place in the store and the digest of its content."""

    stage: str
    address: str
    digest: str


@dataclass(frozen=True)
class Job(Record):
    """One unit, ready to run.

    Attributes:
        unit: the unit.
        address: of its artefact.
        inputs: the artefacts that it reads, by role.
        contents: hashes of the content that it reads; the address is computed from them.
        store: the store's folder.
        device, batch_size: how to run it; neither changes a result beyond rounding. An empty device means the best
            one that the process can use; no batch size means the stage's default for that device.
        files: the fingerprint of the raw files that it reads.
        plugin: where its plugin is; ``None`` for the split stage.
        code: the identity of the plugin's code when the plan was built; ``None`` for built-ins.
        strict: whether to reject a data set with unusable cases.
        timeout: time limit in seconds, or ``None``.
        memory_mb: limit of the resident memory of its processes together, or ``None``.
        lease: file and content of the lease on the unit, checked again before its artefact is committed.
        events: folder for the TensorBoard events of a fit; empty for none.
    """

    unit: Unit
    address: str
    inputs: Mapping[str, Input]
    contents: Mapping[str, str]
    store: str
    device: str = ""
    batch_size: int | None = None
    files: str = ""
    plugin: PluginReference | None = None
    code: str | None = None
    strict: bool = False
    timeout: float | None = None
    memory_mb: float | None = None
    lease: tuple[str, str] | None = None
    events: str = ""

    @property
    def key(self) -> str:
        """The unit's key."""
        return self.unit.key

    def manifest(self, revision: str) -> dict[str, object]:
        """The part of the manifest that is known before the artefact is computed; ``revision`` is the spec's."""
        plugin = self.plugin
        return {
            "format": 1,
            "key": self.unit.key,
            "stage": self.unit.stage,
            "unit": self.unit.to_json(),
            "inputs": {role: artefact.digest for role, artefact in self.inputs.items()},
            "contents": dict(self.contents),
            "files_fingerprint": self.files,
            "plugin": plugin and {"distribution": plugin.distribution, "version": plugin.version, "revision": revision},
            "code": self.code,
        }


@dataclass(frozen=True)
class Outcome(Record):
    """The result of a job.

    Attributes:
        key: the unit's key.
        status: "ok", "error", "timeout", "oom" or "lost".
        reason: one paragraph for the user if the status is not "ok".
        error_type: the exception's class.
        log: the traceback, for the log file.
        digest: of the committed artefact.
        seconds, images, device, started: its cost.
        peak_memory_mb: of the device: the GPU, or the machine without one.
        host_memory_mb: of the machine, always.
        gpu: ``name``, ``driver``, ``cuda`` and ``cudnn`` of the GPU that it ran on; empty on the CPU.
        info: what the stage recorded.
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
    host_memory_mb: float | None = None
    device: str = ""
    gpu: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
