"""A unit: one piece of work of a stage, used in plans, jobs and manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mtbench.data import Task
from mtbench.stages.table import STAGES, Options
from mtbench.store.artefacts import Artefact
from mtbench.typed import Record


@dataclass(frozen=True)
class Unit(Record):
    """One piece of work, named by the hash of its request.

    Attributes:
        key: sha256 over ``request`` and the keys in ``inputs``.
        request: sha256 over this unit's own request: everything below that changes the result, and the plugin's and
            the stage's revision and code, but not the inputs.
        stage: one of ``mtbench.stages.STAGES``.
        kind, plugin: the plugin that computes it; empty for the split stage.
        params: the plugin's parameters, complete; paths as written.
        paths: path parameters (and a dataset's "root") resolved on this machine; not in the key.
        seed: of the fit or sampling; ``None`` without one.
        inputs: role to the key of the unit that provides it.
        options: of the stage (domain, split, ...); of the class that its stage names.
        precision, threads: of its arithmetic.
        name: its printed name; not in the key.
        task: the task it belongs to.
        version: of its plugin and stage, for tables; see ``Choice.version``. All of it is in the key, except the code
            of a fit by an installed distribution.
        codeless: ``request`` without the plugin's code; fits that agree in it may replace each other.
    """

    key: str
    request: str
    stage: str
    name: str
    task: Task
    options: Options
    kind: str = ""
    plugin: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    precision: str = "fp32"
    threads: int = 1
    version: Mapping[str, str] = field(default_factory=dict)
    codeless: str = ""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The unit that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not a unit; the text says why.
        """
        if raw.get("stage") not in STAGES:
            raise ValueError(f"Unit.stage is {raw.get('stage')!r}, expected one of {', '.join(STAGES)}")
        return super().from_json({**raw, "options": STAGES[raw["stage"]].options.from_json(raw.get("options", {}))})

    @property
    def arguments(self) -> dict[str, Any]:
        """The plugin's parameters with their paths resolved on this machine."""
        return {**self.params, **{name: path for name, path in self.paths.items() if name in self.params}}


def unit_of(artefact: Artefact) -> Unit:
    """The unit of an artefact, from its manifest.

    Raises:
        ValueError: the manifest contains no unit that this version can read.
    """
    return Unit.from_json(artefact.manifest["unit"])
