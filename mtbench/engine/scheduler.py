"""Runs the units of a plan in the order of their inputs, and records every attempt and every row."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

from mtbench.engine.amounts import size
from mtbench.engine.executor import Session
from mtbench.engine.job import Job, Outcome
from mtbench.engine.maker import Maker
from mtbench.engine.observers import Observers
from mtbench.engine.queue import Queue
from mtbench.engine.record import RunRecord, lost
from mtbench.engine.request import RunRequest
from mtbench.engine.signals import interrupts
from mtbench.engine.space import estimate
from mtbench.engine.worker import execute, failure
from mtbench.errors import DamagedError, DiskFullError, LeaseLostError, MtbenchError
from mtbench.plan import Plan, Row
from mtbench.registry.contracts import Executor, GpuSlots
from mtbench.registry.params import parse_call
from mtbench.registry.registry import Registry
from mtbench.registry.specs import ExecutorSpec
from mtbench.results.directory import Results
from mtbench.stages.table import STAGES
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.files import sweep
from mtbench.store.leases import Lease

_POLL = 1.0
"""Seconds between requests for the executor's outcomes."""
_PATIENCE = 3
"""How often a unit with damaged inputs waits until they are recomputed."""


class Watcher(Protocol):
    """Shows the progress of a run; see ``mtbench.engine.progress``."""

    def begin(self, total: int) -> None:
        """The run starts."""

    def started(self, unit: Unit) -> None:
        """A unit is submitted."""

    def report(self, key: str, done: int, total: int, figures: Mapping[str, object]) -> None:
        """A running unit has made progress."""

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """A unit ended: ok, cached, error, oom, timeout, lost or skipped."""

    def note(self, text: str) -> None:
        """A message about the run itself."""

    def end(self) -> None:
        """The run has ended."""


@dataclass
class Summary:
    """The result of a run: units by status, the failures with their reasons, and whether it was interrupted."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether any unit failed."""
        return bool(self.failures)


class _Begun(Enum):
    RUNNING = 1
    ENDED = 2
    ELSEWHERE = 3


class Scheduler:
    """One run of one plan.

    Args:
        plan: the plan.
        registry: the plugins.
        store: the store of artefacts.
        results: an open results directory, inside ``results.writing()``.
        executor: runs the units.
        request: the options of the run.
        again: keys of the units to recompute.
        watcher: shows the progress.
        observers: plugins to notify.
    """

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        store: Store,
        results: Results,
        executor: Executor,
        request: RunRequest,
        again: frozenset[str],
        watcher: Watcher,
        observers: Observers,
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._store = store
        self._executor = executor
        self._request = request
        self._again = again
        self._results = results
        self._watcher = watcher
        self._observers = observers
        self._maker = Maker(plan, registry, store, keep=request.keep, note=watcher.note)
        name = parse_call(request.executor or registry.default(ExecutorSpec))[0]
        self._record = RunRecord(plan, registry, self._maker, results, name, request.record(results.path))
        self._dead: dict[str, str] = {}
        self._queue = Queue(plan.units)
        self._damage: Counter[str] = Counter()
        self._statuses: dict[str, str] = {}
        self._full: DiskFullError | None = None
        self._summary = Summary()
        self._rows: dict[str, list[Row]] = {}
        for row in plan.rows:
            self._rows.setdefault(row.unit, []).append(row)

    def run(self) -> Summary:
        """Run to the end, or until the running units end if the user interrupts; failures are recorded, not raised.

        Raises:
            DiskFullError: there is no space for artefacts or the journal. The running units have been finished.
            KeyboardInterrupt: the user interrupted twice, or the process received SIGTERM.
        """
        start = time.monotonic()
        try:
            with interrupts(self._interrupt):
                self._store.sweep()
                sweep(Path(tempfile.gettempdir()).glob(".tmp-*"))
                self._record.recall()
                self._maker.leases.sweep()
                self._watcher.begin(len(self._plan.units))
                for row in self._rows.get("", ()):
                    self._record.row(row, "skipped", row.skipped)
                report = self._watcher.report
                here = partial(execute, registry=self._registry, report=report)
                self._executor.start(Session(here, report, self._plan.suite.threads, self._request.device or ""))
                self._loop()
        finally:
            self._executor.close()
            with contextlib.suppress(DiskFullError):
                for key in sorted(self._queue.running):
                    outcome = lost(key, "The user stopped the run while this unit was running.")
                    self._record.attempt(self._plan.units[key], outcome, begun=True)
            self._maker.close()
            self._store.sweep()
            self._watcher.end()
        self._summary.seconds = time.monotonic() - start
        self._summary.counts = dict(Counter(self._statuses.values()))
        if self._full is not None:
            rest = [key for key in self._plan.units if key not in self._maker.artefacts and key not in self._dead]
            space = size(estimate(self._plan, rest, self._store))
            raise DiskFullError(
                str(self._full).rstrip("."), remedy=f"The remaining {len(rest)} units need about {space}"
            )
        return self._summary

    def _interrupt(self) -> None:
        self._summary.interrupted = True
        count = len(self._queue.running)
        work = f"finishing {count} running unit{'s' if count != 1 else ''}" if count else "stopping"
        self._watcher.note(f"Interrupted: {work}. Press Ctrl-C again to stop at once.")

    def _loop(self) -> None:
        units, queue = self._plan.units, self._queue
        note_sent = False
        while queue:
            ends: list[str] = []
            stopping = self._summary.interrupted or self._full is not None
            while not stopping:
                key = queue.next(self._has_room())
                if key is None:
                    break
                match self._begin(units[key]):
                    case _Begun.ENDED:
                        ends.append(key)
                    case _Begun.ELSEWHERE:
                        queue.elsewhere.append(key)
                stopping = self._summary.interrupted
            if stopping and not queue.running:
                return
            if queue.running and not ends:
                for outcome in self._executor.wait(_POLL):
                    queue.running.discard(outcome.key)
                    if self._finish(units[outcome.key], outcome):
                        ends.append(outcome.key)
            elif queue.elsewhere and not ends:
                if not note_sent:
                    note_sent = True
                    self._watcher.note("Another process computes the remaining units; waiting for them.")
                time.sleep(self._maker.poll)
            if not ends:
                queue.look_again()
            queue.end(ends)

    def _has_room(self) -> Callable[[str], bool]:
        """Whether the executor has a slot for a unit, by its key."""
        executor, running, units = self._executor, self._queue.running, self._plan.units
        # Slots are queried only when something runs, because a query may take a second.
        if not running:
            return lambda key: True
        if not isinstance(executor, GpuSlots) or not executor.gpu_slots:
            room = len(running) < executor.slots
            return lambda key: room
        on_gpus = sum(STAGES[units[key].stage].uses_device for key in running)
        free = {True: on_gpus < executor.gpu_slots, False: len(running) - on_gpus < executor.slots}
        return lambda key: free[STAGES[units[key].stage].uses_device]

    # -- one unit

    def _begin(self, unit: Unit) -> _Begun:
        """Submit a unit, unless it has already ended (cached, or not possible) or another run computes it."""
        for key in unit.inputs.values():
            if key in self._dead:
                self._dead[unit.key] = self._dead[key]
                self._end(unit, Outcome(unit.key, "skipped", reason=self._dead[key]))
                return _Begun.ENDED
        fresh = unit.key in self._again
        try:
            result = self._maker.lease(unit, fresh=fresh)
            if fresh and result is not None:
                self._store.drop(unit.stage, self._maker.places[unit.key].address)
        except DiskFullError:
            raise
        except Exception as error:
            self._end(unit, failure(unit.key, error))
            return _Begun.ENDED
        if result is None:
            return _Begun.ELSEWHERE
        if isinstance(result, Artefact):
            self._end(unit, Outcome(unit.key, "cached", digest=result.digest))
            return _Begun.ENDED
        self._record.attempt(unit)
        self._watcher.started(unit)
        self._queue.running.add(unit.key)
        self._executor.submit(self._job(unit, result))
        return _Begun.RUNNING

    def _job(self, unit: Unit, lease: Lease) -> Job:
        # TensorBoard events of a fit go to the results or below MTBENCH_TENSORBOARD; if that is empty, nowhere.
        events = os.environ.get("MTBENCH_TENSORBOARD", str(self._results.path / "tensorboard"))
        if events:
            _, _, plain = re.sub(r"\[.*\]", "", unit.name).partition(" ")
            events = str(Path(events).resolve() / re.sub(r"[^\w.]+", "-", f"{plain} {unit.key[:8]}"))
        memory = self._request.memory_gb
        return replace(
            self._maker.job(unit, lease),
            device=self._request.device or "",
            batch_size=self._request.batch_size,
            timeout=self._request.timeout,
            memory_mb=memory * 1e9 / 2**20 if memory else None,
            events=events if unit.stage == "fit" else "",
        )

    def _finish(self, unit: Unit, outcome: Outcome) -> bool:
        """Process an outcome; False if the unit has not ended: it waits, or the disk is full."""
        if outcome.error_type == LeaseLostError.__name__:
            self._queue.elsewhere.append(unit.key)
            self._record.attempt(unit, lost(unit.key, outcome.reason), begun=True)
            return False
        if outcome.error_type == DamagedError.__name__ and self._damage[unit.key] < _PATIENCE:
            self._damage[unit.key] += 1
            self._maker.release(unit)
            self._record.attempt(unit, outcome, begun=True)
            self._queue.put_back(unit.key, self._maker.doubt(unit))
            return False
        if outcome.error_type == DiskFullError.__name__:
            self._full = self._full or DiskFullError(outcome.reason)
            self._maker.release(unit)
            self._record.attempt(unit, outcome, begun=True)
            return False
        if outcome.status == "ok":
            try:
                self._maker.settle(unit)
            except MtbenchError as error:
                outcome = failure(unit.key, error)
        self._end(unit, outcome, begun=True)
        return True

    def _end(self, unit: Unit, outcome: Outcome, *, begun: bool = False) -> None:
        good = outcome.status in ("ok", "cached")
        self._statuses[unit.key] = outcome.status
        if not good and outcome.status != "skipped":
            self._dead[unit.key] = f"{unit.name} failed: {outcome.reason}"
            self._summary.failures.append((unit.name, outcome.reason))
        self._record.attempt(unit, outcome, begun=begun)
        for row in self._rows.get(unit.key, ()):
            self._record.row(row, "measured" if good else "failed", "" if good else outcome.reason)
        self._maker.release(unit)
        text = outcome.reason or str(outcome.info.get("remark", ""))
        self._watcher.finished(unit, outcome.status, text, outcome.seconds)
        self._observers.tell("mtbench_unit_finished", unit.name, unit=unit, outcome=outcome)
