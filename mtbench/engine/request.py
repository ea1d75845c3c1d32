"""What a run is asked to do, and how a results directory keeps it: enough to ask for the same again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mtbench.compute.inference import check_device
from mtbench.errors import RequestError, close_matches
from mtbench.hashing import hash_of
from mtbench.paths import expand
from mtbench.plan import Plan
from mtbench.plan.request import PlanRequest
from mtbench.registry.contracts import Executor
from mtbench.registry.params import parse_call
from mtbench.registry.registry import Registry
from mtbench.registry.specs import ExecutorSpec
from mtbench.stages import STAGES
from mtbench.store.files import write_whole


@dataclass(frozen=True)
class RunRequest(PlanRequest):
    """A suite to run, and how; see also :class:`mtbench.plan.request.PlanRequest`.

    Attributes:
        out: results directory; ``mtbench-results/SUITE`` by default.
        device: a torch device; the GPU if there is one by default.
        executor: who runs the units: ``NAME`` or ``NAME:p=v,...``; empty for the default one.
        jobs: units at once; short for the executor's parameter with the role "jobs".
        timeout: seconds that a unit may take; then it is stopped.
        memory_gb: resident memory that a unit may take (GB = 1e9 bytes); then it is stopped.
        batch_size: slices per inference batch; changes no result beyond rounding.
        fresh: stages to make anew.
        rerun: "failed" (what is done anyway), "all", or units to make anew, by key (8 characters suffice) or name.
    """

    out: str | None = None
    device: str | None = None
    executor: str = ""
    jobs: int | None = None
    timeout: float | None = None
    memory_gb: float | None = None
    batch_size: int = 8
    fresh: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()

    @classmethod
    def of(cls, suite: str | Path | Mapping[str, Any], options: Mapping[str, Any]) -> Self:
        """See :meth:`PlanRequest.of`; also refuses stages and devices that cannot exist."""
        request = super().of(suite, options)
        for stage in request.fresh:
            if stage not in STAGES:
                raise RequestError(
                    f"there is no stage '{stage}'",
                    expected="one of " + ", ".join(STAGES),
                    matches=close_matches(stage, STAGES),
                )
        if request.device:
            check_device(request.device)
        return request

    def registry(self, *, careful: bool = False) -> Registry:
        """The plugins; a broken plugin file is refused: somebody who names a file wants it."""
        registry = super().registry(careful=careful)
        for plugin in registry.plugins:
            if plugin.path is not None and plugin.problem:
                raise RequestError(
                    plugin.problem, where=f"plugin file {plugin.path}", remedy=plugin.remedy.capitalize()
                )
        return registry

    def folder(self, suite: str) -> Path:
        """The results directory."""
        return Path(self.out) if self.out else Path("mtbench-results") / suite

    def stages_again(self) -> frozenset[str]:
        """The stages whose artefacts are made anew."""
        return frozenset(STAGES if "all" in self.rerun else self.fresh)

    def units_again(self, plan: Plan) -> frozenset[str]:
        """The keys of the units whose artefacts are made anew.

        Raises:
            RequestError: the plan has no such unit.
        """
        again: set[str] = set()
        for item in self.rerun:
            if item in ("failed", "all"):
                continue
            keys = {
                key
                for key, unit in plan.units.items()
                if item == unit.name or (len(item) >= 8 and key.startswith(item))
            }
            if not keys:
                raise RequestError(
                    f"the plan has no unit '{item}'",
                    where="--rerun",
                    expected="'failed', 'all', a unit's name or its key",
                    matches=close_matches(item, [unit.name for unit in plan.units.values()]),
                )
            again |= keys
        return frozenset(again)

    def make_executor(self, registry: Registry) -> Executor:
        """The executor.

        Raises:
            RequestError: there is none of that name, or it cannot keep the limits.
        """
        registration, params = registry.call(ExecutorSpec, self.executor or registry.default(ExecutorSpec))
        if self.jobs is not None:
            params[registration.spec.param_for("jobs") or "jobs"] = self.jobs
        executor = registration.create(registration.complete(params))
        if (self.timeout or self.memory_gb) and not executor.limits:
            raise RequestError(
                f"the executor '{registration.spec.name}' cannot stop a unit",
                where="--timeout, --memory",
                remedy="Leave them out, or choose an executor that runs units in processes of their own",
            )
        return executor

    def executor_name(self, registry: Registry) -> str:
        """The executor's name, without its parameters."""
        return parse_call(self.executor or registry.default(ExecutorSpec))[0]

    @property
    def memory_mb(self) -> float | None:
        """The memory limit in MiB."""
        return self.memory_gb * 1e9 / 2**20 if self.memory_gb else None

    def words(self) -> Iterator[str]:
        """The options that decide what a unit makes, for the command that makes it again."""
        yield from super().words()
        if self.device:
            yield from ("--device", self.device)

    def record(self, results: Path) -> dict[str, Any]:
        """The command of the run as words, and the name of the suite's copy, which is written to ``results``."""
        path = expand(self.suite)
        if not self.text and not path.is_file():
            return {"suite": self.suite, "copy": "", "options": list(self.words())}
        text = self.text.encode() if self.text else path.read_bytes()
        copy = f"suite-{hash_of(text.decode(errors='replace'))[:8]}.toml"
        if not (results / copy).exists():
            write_whole(results / copy, lambda file: file.write(text))
        suite = str((results / copy if self.text else path).resolve())
        return {"suite": suite, "copy": copy, "options": list(self.words())}
