"""The request of a run, and its record in a results directory, from which the run can be repeated."""

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
    """A suite to run, and the options; see also :class:`mtbench.plan.request.PlanRequest`.

    Attributes:
        out: results directory; ``mtbench-results/SUITE`` by default.
        device: a torch device; by default the GPU if there is one.
        executor: the executor: ``NAME`` or ``NAME:p=v,...``; empty for the default one.
        jobs: units at the same time (on GPUs: those that use one); sets the executor's parameter with the role "jobs".
        timeout: time limit of a unit in seconds; a unit that exceeds it is stopped.
        memory_gb: limit of a unit's resident memory (GB = 1e9 bytes); a unit that exceeds it is stopped.
        batch_size: slices per inference batch, by default 8, and on GPUs 256 for features and 32 otherwise; changes
            no result beyond rounding.
        fresh: stages to recompute.
        keep: "fit": reuse fits of an earlier version of a plugin's code; their rows say so.
        rerun: "failed" (the default behaviour), "all", or units to recompute, by key (8 characters suffice) or name.
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
        """See :meth:`PlanRequest.of`; unknown stages and devices are errors too."""
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
        """The keys of the units to recompute.

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
        """The executor and its limits.

        Raises:
            RequestError: there is no executor of that name, or it cannot enforce the limits.
        """
        registration, params = registry.call(ExecutorSpec, self.executor or registry.default(ExecutorSpec))
        if self.jobs is not None:
            params[registration.spec.param_for("jobs") or "jobs"] = self.jobs
        executor = registration.create(registration.complete(params))
        if (self.timeout or self.memory_gb) and not executor.limits:
            raise RequestError(
                f"the executor '{registration.spec.name}' cannot stop a running unit",
                where="--timeout, --memory",
                remedy="Omit these options, or choose an executor that runs each unit in its own process",
            )
        return executor

    def record(self, results: Path) -> dict[str, object]:
        """The command that repeats the run, and the name of the suite's copy, which is written to ``results``."""
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
    """Raise an error if a stage does not exist.

    Raises:
        RequestError: it does not exist; the text lists the stages.
    """
    if name not in STAGES:
        expected = "one of " + ", ".join(STAGES)
        raise RequestError(f"unknown stage '{name}'", expected=expected, matches=close_matches(name, STAGES))
