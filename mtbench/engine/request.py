"""What a run is asked to do, and how a results directory keeps it: enough to ask for the same again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from mtbench.compute.devices import check_device
from mtbench.errors import RequestError, close_matches
from mtbench.paths import expand
from mtbench.plan import Plan
from mtbench.plan.request import PlanRequest
from mtbench.registry.contracts import Executor
from mtbench.registry.registry import Registry
from mtbench.registry.specs import ExecutorSpec
from mtbench.results.environments import suite_file
from mtbench.stages import STAGES
from mtbench.store.files import write_whole
from mtbench.typed import Rule

_MOST = 10**6
_MAYBE_COUNT = Rule(f"a whole number from 1 to {_MOST}", lambda count: count is None or 1 <= count <= _MOST)
_MAYBE_AMOUNT = Rule("a finite number above 0", lambda amount: amount is None or 0 < amount < math.inf)


@dataclass(frozen=True)
class RunRequest(PlanRequest):
    """A suite to run, and how; see also :class:`mtbench.plan.request.PlanRequest`.

    Attributes:
        out: results directory; ``mtbench-results/SUITE`` by default.
        device: a torch device; the GPU if there is one by default.
        executor: who runs the units: ``NAME`` or ``NAME:p=v,...``; empty for the default one.
        jobs: units at once (on GPUs: those that use one); short for the executor's parameter with the role "jobs".
        timeout: seconds that a unit may take; then it is stopped.
        memory_gb: resident memory that a unit may take (GB = 1e9 bytes); then it is stopped.
        batch_size: slices per inference batch, by default 8, and on GPUs 256 for features and 32 for the rest; changes
            no result beyond rounding.
        fresh: stages to make anew.
        keep: "fit": use the fits that an earlier version of a plugin's code made; their rows say so.
        rerun: "failed" (what is done anyway), "all", or units to make anew, by key (8 characters suffice) or name.
    """

    out: str | None = None
    device: str | None = None
    executor: str = ""
    jobs: Annotated[int | None, _MAYBE_COUNT] = None
    timeout: Annotated[float | None, _MAYBE_AMOUNT] = None
    memory_gb: Annotated[float | None, _MAYBE_AMOUNT] = None
    batch_size: Annotated[int | None, _MAYBE_COUNT] = None
    fresh: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()

    @classmethod
    def of(cls, suite: str | Path | Mapping[str, Any], options: Mapping[str, object]) -> Self:
        """See :meth:`PlanRequest.of`; also refuses stages and devices that cannot exist."""
        request = super().of(suite, options)
        for stage in request.fresh:
            check_stage(stage)
        for stage in request.keep:
            if stage != "fit":
                raise RequestError(f"'{stage}' cannot be kept", where="--keep", expected="fit")
        if request.device:
            check_device(request.device)
        return request

    def units_again(self, plan: Plan) -> frozenset[str]:
        """The keys of the units whose artefacts are made anew.

        Raises:
            RequestError: the plan has no such unit.
        """
        units = plan.units
        again = {key for key, unit in units.items() if "all" in self.rerun or unit.stage in self.fresh}
        for item in self.rerun:
            if item in ("failed", "all"):
                continue
            keys = {key for key in units if item == units[key].name or (len(item) >= 8 and key.startswith(item))}
            if not keys:
                raise RequestError(
                    f"the plan has no unit '{item}'",
                    where="--rerun",
                    expected="'failed', 'all', a unit's name or its key",
                    matches=close_matches(item, [unit.name for unit in units.values()]),
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

    def record(self, results: Path) -> dict[str, object]:
        """The command that makes the same, as words, and the name of the suite's copy, written to ``results``."""
        options = [*self.words(), *(("--device", self.device) if self.device else ())]
        path = expand(self.suite)
        if not self.text and not path.is_file():
            return {"suite": self.suite, "typed": self.suite, "out": self.out, "copy": "", "options": options}
        text = self.text.encode() if self.text else path.read_bytes()
        copy = suite_file(text)
        if not (results / copy).exists():
            write_whole(results / copy, lambda file: file.write(text))
        suite = str((results / copy if self.text else path).resolve())
        typed = "" if self.text else self.suite
        return {"suite": suite, "typed": typed, "out": self.out, "copy": copy, "options": options}


def check_stage(name: str) -> None:
    """Refuse a stage that there is not.

    Raises:
        RequestError: with those that there are.
    """
    if name not in STAGES:
        expected = "one of " + ", ".join(STAGES)
        raise RequestError(f"there is no stage '{name}'", expected=expected, matches=close_matches(name, STAGES))
