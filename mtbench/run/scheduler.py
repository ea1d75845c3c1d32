"""Runs the units of a plan in order of their inputs; records every try and every row."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mtbench import provenance
from mtbench.discovery import Registry
from mtbench.errors import DiskFullError, MtbenchError
from mtbench.plan import Plan, Row, Unit
from mtbench.results import Results
from mtbench.run.executor import Executor
from mtbench.run.job import Job, Outcome, unit_to_dict
from mtbench.run.lookup import address, fingerprint, given, settle
from mtbench.run.worker import describe_failure
from mtbench.store.artefacts import Artefact, Store, hash_of
from mtbench.store.hashes import Hashes


class Watcher(Protocol):
    """Who shows what is going on; see ``mtbench.run.progress``."""

    def begin(self, total: int) -> None:
        """The run starts."""

    def started(self, unit: Unit) -> None:
        """A unit is submitted."""

    def report(self, key: str, done: int, total: int, figures: Mapping[str, Any]) -> None:
        """A running unit got further."""

    def finished(self, unit: Unit, status: str, reason: str, seconds: float) -> None:
        """A unit ended: ok, cached, error, oom, timeout, lost or skipped."""

    def end(self) -> None:
        """The run is over."""


@dataclass(frozen=True)
class RunOptions:
    """How a plan is run; none of it changes a result beyond rounding.

    Attributes:
        device: a torch device, or ``None`` for the best one there is.
        executor: name of the executor, for the record.
        batch_size: of inference.
        fresh: stages whose artefacts are made anew.
        plugin_files, third_party: what a worker process needs to load the same plugins.
    """

    device: str | None = None
    executor: str = "inline"
    batch_size: int = 8
    fresh: frozenset[str] = frozenset()
    plugin_files: tuple[str, ...] = ()
    third_party: bool = True


@dataclass
class Summary:
    """What a run did: units by status, and the failures with their reasons."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether any unit failed."""
        return bool(self.failures)


class Scheduler:
    """One run of one plan.

    Args:
        plan: what to do.
        registry: the plugins.
        store: where artefacts live.
        results: an open results directory, inside ``results.writing()``.
        executor: who runs the units.
        options: how.
        watcher: who shows it.
    """

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        store: Store,
        results: Results,
        executor: Executor,
        options: RunOptions,
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._store = store
        self._results = results
        self._executor = executor
        self._options = options
        self._watcher = watcher
        self._hashes = Hashes(store.root / "hashes.sqlite")
        self._artefacts: dict[str, Artefact] = {}
        self._digests: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._provisional: dict[str, str] = {}
        self._dead: dict[str, str] = {}
        self._summary = Summary()
        self._device: str | None = options.device
        self._rows: dict[str, list[Row]] = {}
        for row in plan.rows:
            self._rows.setdefault(row.unit, []).append(row)
        self._known_artefacts: set[tuple[str, str]] = set()
        self._known_rows: dict[str, str] = {}
        self._attempts: dict[str, int] = {}

    def run(self) -> Summary:
        """Run to the end; failures are recorded, not raised.

        Raises:
            DiskFullError: there is no room for artefacts or for the journal.
        """
        started = time.monotonic()
        self._recall()
        units = self._plan.units
        waiting = {key: len(set(unit.inputs.values())) for key, unit in units.items()}
        users: dict[str, list[str]] = {}
        for key, unit in units.items():
            for needed in set(unit.inputs.values()):
                users.setdefault(needed, []).append(key)
        ready = deque(key for key, count in waiting.items() if count == 0)
        running: set[str] = set()
        self._watcher.begin(len(units))
        for row in self._rows.get("", ()):
            self._record_row(row, "skipped", row.skipped)
        try:
            self._executor.start(self._registry, self._watcher.report)
            while ready or running:
                ended: list[str] = []
                while ready and len(running) < self._executor.slots:
                    key = ready.popleft()
                    if self._begin(units[key]):
                        running.add(key)
                    else:
                        ended.append(key)
                if running and not ended:
                    for outcome in self._executor.wait():
                        running.discard(outcome.key)
                        self._finish(units[outcome.key], outcome)
                        ended.append(outcome.key)
                # Depth first: what has become possible comes before what was possible already, so that rows
                # are finished one by one and not all at the end.
                for key in ended:
                    now = []
                    for user in users.get(key, ()):
                        waiting[user] -= 1
                        if waiting[user] == 0:
                            now.append(user)
                    ready.extendleft(reversed(now))
        finally:
            self._executor.close()
            self._hashes.close()
            self._watcher.end()
        self._summary.seconds = time.monotonic() - started
        return self._summary

    # -- one unit

    def _begin(self, unit: Unit) -> bool:
        """Submit a unit; False when it has already ended: cached, or not possible."""
        for key in unit.inputs.values():
            if key in self._dead:
                self._dead[unit.key] = self._dead[key]
                self._end(unit, Outcome(unit.key, "skipped", reason=self._dead[key]))
                return False
        try:
            files, provisional = fingerprint(unit, self._registry, self._hashes)
            where = address(unit, self._artefacts, files)
            self._addresses[unit.key] = where
            if unit.stage in self._options.fresh:
                self._store.drop(unit.stage, where)
            found = self._store.get(unit.stage, where)
            if provisional:
                self._provisional[unit.key] = files
                found = self._settled(unit) if found is not None else None
        except Exception as error:
            self._fail(unit, Outcome(unit.key, **describe_failure(error)))
            return False
        if found is not None:
            self._artefacts[unit.key] = found
            self._digests[unit.key] = found.digest
            self._end(unit, Outcome(unit.key, "cached", digest=found.digest))
            return False
        if self._device is None and unit.stage not in ("prepare", "split"):
            from mtbench.compute.inference import resolve_device

            self._device = resolve_device(None)
        job = Job(
            unit=unit_to_dict(unit),
            address=where,
            inputs={role: (self._plan.units[key].stage, self._addresses[key]) for role, key in unit.inputs.items()},
            digests={role: self._digests[key] for role, key in unit.inputs.items()},
            given=given(unit, self._artefacts),
            store=str(self._store.root),
            device=self._device or "cpu",
            batch_size=self._options.batch_size,
            files=files,
            plugin_files=self._options.plugin_files,
            third_party=self._options.third_party,
        )
        self._watcher.started(unit)
        self._executor.submit(job)
        return True

    def _finish(self, unit: Unit, outcome: Outcome) -> None:
        if outcome.status == "ok":
            try:
                made = self._settled(unit)
            except MtbenchError as error:
                self._fail(unit, Outcome(unit.key, **describe_failure(error)))
                return
            self._artefacts[unit.key] = made
            self._digests[unit.key] = outcome.digest
            self._end(unit, outcome)
        elif outcome.error_type == DiskFullError.__name__:
            raise DiskFullError(outcome.reason)
        else:
            self._fail(unit, outcome)

    def _settled(self, unit: Unit) -> Artefact:
        """The artefact of a unit that has run, at the address that it keeps."""
        files = self._provisional.pop(unit.key, None)
        if files is not None:
            self._addresses[unit.key] = settle(unit, self._registry, self._hashes, self._store, self._artefacts, files)
        made = self._store.get(unit.stage, self._addresses[unit.key])
        assert made is not None
        return made

    def _fail(self, unit: Unit, outcome: Outcome) -> None:
        self._dead[unit.key] = f"{unit.name} failed: {outcome.reason}"
        self._summary.failures.append((unit.name, outcome.reason))
        self._end(unit, outcome)

    def _end(self, unit: Unit, outcome: Outcome) -> None:
        self._summary.counts[outcome.status] = self._summary.counts.get(outcome.status, 0) + 1
        self._record_attempt(unit, outcome)
        for row in self._rows.get(unit.key, ()):
            if outcome.status in ("ok", "cached"):
                self._record_scores(row, unit)
            else:
                reason = outcome.reason if outcome.status != "skipped" else self._dead[unit.key]
                self._record_row(row, "failed", reason)
        told = outcome.reason or str(outcome.info.get("remark", ""))
        self._watcher.finished(unit, outcome.status, told, outcome.seconds)
        # Observers cannot fail a run.
        with contextlib.suppress(Exception):
            self._registry.manager.hook.mtbench_unit_finished(unit=unit_to_dict(unit), result=vars(outcome))

    # -- the record

    def _recall(self) -> None:
        """What this results directory already holds, so that running again adds nothing."""
        order: list[str] = []
        for record in self._results.records():
            if record.get("type") == "attempt":
                key = record["unit_key"]
                self._attempts[key] = max(self._attempts.get(key, 0), record["attempt"])
                if record["status"] in ("ok", "cached"):
                    self._known_artefacts.add((key, record["digest"]))
            elif record.get("type") == "row":
                self._known_rows[record["row"]] = record["mark"]
            elif record.get("type") == "order":
                order = record["rows"]
        # Rows in the suite's order, whatever order they are finished in; a narrowed run moves none.
        planned = [row.id for row in self._plan.rows]
        if not set(planned) <= set(order):
            rows = [*planned, *(row for row in order if row not in set(planned))]
            self._results.append({"type": "order", "rows": rows})

    def _record_attempt(self, unit: Unit, outcome: Outcome) -> None:
        if outcome.status == "cached" and (unit.key, outcome.digest) in self._known_artefacts:
            return
        self._attempts[unit.key] = self._attempts.get(unit.key, 0) + 1
        self._keep_environment()
        self._results.append(
            {
                "type": "attempt",
                "suite": self._plan.suite.name,
                "unit_key": unit.key,
                "stage": unit.stage,
                "name": unit.name,
                "attempt": self._attempts[unit.key],
                "status": outcome.status,
                "reason": outcome.reason,
                "error_type": outcome.error_type,
                "log": outcome.log or "\n".join(outcome.info.get("notes", ())),
                "started": outcome.started,
                "seconds": outcome.seconds,
                "images": outcome.images,
                "peak_memory_mb": outcome.peak_memory_mb,
                "device": outcome.device,
                "host": provenance.host(),
                "executor": self._options.executor,
                "plugins": json.dumps(self._plugins(unit), sort_keys=True),
                "git_commit": provenance.git_commit(),
                "environment_id": provenance.environment()["id"],
                "artefact": self._addresses.get(unit.key, ""),
                "digest": outcome.digest,
            }
        )

    def _keep_environment(self) -> None:
        """What ``environment_id`` of an attempt stands for."""
        found = provenance.environment()
        name = f"environment-{found['id']}.json"
        if not (self._results.path / name).exists():
            self._results.write_file(name, json.dumps(found, indent=1))

    def _plugins(self, unit: Unit) -> dict[str, str]:
        seen: dict[str, str] = {"mtbench": ""}
        for key in (unit.key, *self._ancestors(unit)):
            other = self._plan.units[key]
            if other.plugin:
                plugin = self._registry.get(other.kind, other.plugin).plugin
                seen[plugin.distribution] = plugin.version
        seen["mtbench"] = _version()
        return seen

    def _ancestors(self, unit: Unit) -> Iterable[str]:
        seen: set[str] = set()
        stack = list(unit.inputs.values())
        while stack:
            key = stack.pop()
            if key not in seen:
                seen.add(key)
                stack += self._plan.units[key].inputs.values()
        return seen

    def _record_scores(self, row: Row, unit: Unit) -> None:
        artefact = self._store.get("score", self._addresses[unit.key])
        assert artefact is not None
        self._record_row(row, "measured", "", artefact)

    def _record_row(self, row: Row, status: str, reason: str, artefact: Artefact | None = None) -> None:
        columns = {
            **row.columns,
            "status": status,
            "unit_key": row.unit,
            "fit_digest": ",".join(self._digests[k] for k in row.fits if k in self._digests),
        }
        if artefact is not None:
            columns["input_digest"] = hash_of(artefact.manifest["given"])
        mark = hash_of([columns, artefact.digest if artefact else reason])
        if self._known_rows.get(row.id) == mark:
            return
        self._known_rows[row.id] = mark
        scores: list[dict[str, Any]] = [{"label": "", "note": reason}]
        cases: list[Any] = []
        if artefact is not None:
            found = json.loads((artefact.path / "score.json").read_text())
            shared = {k: v for k, v in found.items() if k not in ("scores", "cases")}
            scores = [{**shared, **score} for score in found["scores"]]
            cases = found["cases"]
        self._results.append(
            {
                "type": "row",
                "row": row.id,
                "status": status,
                "mark": mark,
                "columns": columns,
                "scores": scores,
                "cases": cases,
            }
        )


def _version() -> str:
    from mtbench import __version__

    return __version__
