"""A unit as it is handed to whoever runs it: plain JSON, so that no pickle crosses a process or a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtbench.registry.plugin import PluginReference
from mtbench.stages.unit import Unit
from mtbench.typed import Record


@dataclass(frozen=True)
class Input(Record):
    """An artefact that a unit reads: where it lies in the store, and the digest of its content."""

    stage: str
    address: str
    digest: str


@dataclass(frozen=True)
class Job(Record):
    """One unit, ready to run.

    Attributes:
        unit: what is to be done.
        address: where its artefact goes.
        inputs: the artefacts it reads, by role.
        contents: what of them it reads, by content: what the address was made of.
        store: the store's folder.
        device, batch_size: how to run it; neither changes a result beyond rounding. An empty device is the best
            one that the process at work can see; no batch size is the stage's for that device.
        files: the fingerprint of the raw files it reads.
        plugin: where its plugin is; ``None`` for the split stage.
        code: the identity that the plugin's code had when the plan was made; ``None`` for built-ins.
        strict: whether a data set is refused when cases of it have to be left out.
        timeout: seconds it may take, or ``None``.
        memory_mb: resident memory that its processes may take together, or ``None``.
        lease: file and content of the lease on the unit, looked at again before its artefact is committed.
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
        """What is known of the artefact before it is made; ``revision`` is that of the plugin's spec."""
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
    """What became of a job.

    Attributes:
        key: the unit's key.
        status: "ok", "error", "timeout", "oom" or "lost".
        reason: one paragraph for people, where it is not ok.
        error_type: the exception's class.
        log: the traceback, for the log file.
        digest: of the committed artefact.
        seconds, images, device, started: what it cost.
        peak_memory_mb: of the device: the GPU, or the machine where there is none.
        host_memory_mb: of the machine in either case.
        gpu: ``name``, ``driver``, ``cuda`` and ``cudnn`` of the GPU it ran on; empty on the CPU.
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
    host_memory_mb: float | None = None
    device: str = ""
    gpu: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
