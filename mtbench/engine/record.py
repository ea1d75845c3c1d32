"""What a run writes into its results directory: every attempt at a unit, and the state of every row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mtbench.engine.job import Outcome
from mtbench.engine.origin import origin_columns
from mtbench.hashing import hash_of
from mtbench.plan import Plan, Row
from mtbench.registry.registry import Registry
from mtbench.results import provenance
from mtbench.results.directory import Results
from mtbench.results.schema import SCHEMA_VERSION
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact
from mtbench.store.leases import Leases, over

STOPPED = "The run was stopped while this unit was at work (killed, or the machine went down)."


class RunRecord:
    """The record of one run.

    Args:
        plan, registry: what is run, with what.
        artefacts: of the units that have ended well, by key.
        results: an open results directory, inside ``results.writing()``.
        leases: of the run; they tell whether other runs still live.
        executor: its name.
        request: what the user asked for; see :func:`mtbench.engine.request.request`.
    """

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        artefacts: Mapping[str, Artefact],
        results: Results,
        leases: Leases,
        executor: str,
        request: Mapping[str, Any],
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._artefacts = artefacts
        self._results = results
        self._leases = leases
        self._executor = executor
        self._request = request
        self._unit_keys: set[str] = set()
        self._artefact_keys: set[tuple[str, str]] = set()
        self._row_states: dict[str, tuple[float, str]] = {}
        self._attempts: dict[str, int] = {}

    def recall(self) -> None:
        """What this results directory already holds, so that running again adds nothing.

        Attempts that a run began and never ended are noted as lost, unless that run lives.
        """
        order: list[str] = []
        open_attempts: dict[tuple[str, str, int], dict[str, Any]] = {}
        latest = 0.0
        for record in self._results.records():
            kind, at = record.get("type"), record.get("at", 0.0)
            latest = max(latest, at)
            if kind in ("attempt", "started"):
                key, number = record["unit_key"], record["attempt"]
                self._attempts[key] = max(self._attempts.get(key, 0), number)
                this = (record.get("run", ""), key, number)
                if kind == "started":
                    open_attempts[this] = record
                else:
                    open_attempts.pop(this, None)
                    if record["status"] in ("ok", "cached"):
                        self._artefact_keys.add((key, record["digest"]))
            elif kind == "row" and at >= self._row_states.get(record["row"], (0.0, ""))[0]:
                self._row_states[record["row"]] = (at, record["mark"])
            elif kind == "order":
                order = record["rows"]
            elif kind == "unit":
                self._unit_keys.add(record["unit_key"])
        self._results.not_before(latest)
        for begun in open_attempts.values():
            if over(begun["run"], Path(begun["beat"])):
                ending = {"status": "lost", "reason": STOPPED, "error_type": "lost"}
                self._results.append({**begun, "type": "attempt", **ending})
        # Rows in the suite's order, whatever order they are finished in; a narrowed run moves none.
        ids = [row.id for row in self._plan.rows]
        if not set(ids) <= set(order):
            rows = [*ids, *(row for row in order if row not in set(ids))]
            self._results.append({"type": "order", "rows": rows})

    def started(self, unit: Unit, address: str) -> None:
        """An attempt at a unit begins."""
        self._attempts[unit.key] = self._attempts.get(unit.key, 0) + 1
        self._describe(unit)
        outcome = Outcome(unit.key, "", started=datetime.now(UTC).isoformat(timespec="seconds"))
        self._results.append({**self._entry(unit, outcome, address), "type": "started", "beat": str(self._leases.beat)})

    def attempt(self, unit: Unit, outcome: Outcome, address: str, *, begun: bool) -> None:
        """What became of an attempt; ``begun`` if :meth:`started` has recorded it."""
        self._describe(unit)
        if outcome.status == "cached" and (unit.key, outcome.digest) in self._artefact_keys:
            return
        if not begun:
            self._attempts[unit.key] = self._attempts.get(unit.key, 0) + 1
        self._results.append(self._entry(unit, outcome, address))

    def skipped(self, row: Row, reason: str) -> None:
        """A row that will never have a value."""
        self._row(row, "skipped", reason)

    def failed(self, row: Row, reason: str) -> None:
        """A row whose unit, or a unit before it, failed."""
        self._row(row, "failed", reason)

    def measured(self, row: Row) -> None:
        """A row whose unit has ended well."""
        self._row(row, "measured", "", self._artefacts[row.unit])

    def _describe(self, unit: Unit) -> None:
        """What was asked of a unit, once; paths of this machine left out."""
        if unit.key not in self._unit_keys:
            self._unit_keys.add(unit.key)
            names = ("stage", "kind", "plugin", "name", "seed", "precision", "threads")
            fields = {name: getattr(unit, name) for name in names}
            request = {"params": dict(unit.params), "options": unit.options.to_json(), "inputs": dict(unit.inputs)}
            self._results.append({"type": "unit", "unit_key": unit.key, **fields, **request})

    def _entry(self, unit: Unit, outcome: Outcome, address: str) -> dict[str, Any]:
        self._keep_environment()
        if self._request:
            self._results.append({"type": "request", "run": self._leases.run, **self._request})
            self._request = {}
        return {
            "type": "attempt",
            "run": self._leases.run,
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
            "executor": self._executor,
            "plugins": json.dumps(self._plugins(unit), sort_keys=True),
            "git_commit": provenance.git_commit(),
            "environment_id": provenance.environment()["id"],
            "artefact": address,
            "digest": outcome.digest,
        }

    def _keep_environment(self) -> None:
        """What ``environment_id`` of an attempt stands for."""
        environment = provenance.environment()
        name = f"environment-{environment['id']}.json"
        if not (self._results.path / name).exists():
            self._results.write_file(name, json.dumps(environment, indent=1))

    def _plugins(self, unit: Unit) -> dict[str, str]:
        versions: dict[str, str] = {"mtbench": _version()}
        for other in (unit, *self._ancestors(unit)):
            if other.plugin:
                plugin = self._registry.get(other.kind, other.plugin).plugin
                versions[plugin.distribution] = plugin.version
        return versions

    def _ancestors(self, unit: Unit) -> Iterator[Unit]:
        keys: set[str] = set()
        stack = list(unit.inputs.values())
        while stack:
            key = stack.pop()
            if key not in keys:
                keys.add(key)
                yield self._plan.units[key]
                stack += self._plan.units[key].inputs.values()

    def _row(self, row: Row, status: str, reason: str, artefact: Artefact | None = None) -> None:
        fits = [self._artefacts[key].digest for key in row.fits if key in self._artefacts]
        columns = {**row.columns, "status": status, "unit_key": row.unit, "fit_digest": ",".join(fits)}
        if row.unit:
            units = self._plan.units
            lineage = (units[row.unit], *self._ancestors(units[row.unit]))
            columns |= origin_columns(lineage, self._artefacts)
        if artefact is not None:
            columns["input_digest"] = hash_of(artefact.manifest["contents"])
        mark = hash_of([columns, artefact.digest if artefact else reason])
        if self._row_states.get(row.id, (0.0, ""))[1] == mark:
            return
        self._row_states[row.id] = (0.0, mark)
        scores: list[dict[str, Any]] = [{"label": "", "note": reason}]
        cases: list[Any] = []
        if artefact is not None:
            scoring = json.loads((artefact.path / "score.json").read_text())
            common = {k: v for k, v in scoring.items() if k not in ("scores", "cases")}
            scores = [{**common, **score} for score in scoring["scores"]]
            cases = scoring["cases"]
        self._results.append(
            {
                "type": "row",
                "schema_version": SCHEMA_VERSION,
                "row": row.id,
                "status": status,
                "mark": mark,
                "columns": columns,
                "scores": scores,
                "cases": cases,
            }
        )


def lost(key: str, reason: str) -> Outcome:
    """The outcome of a unit that was at work when its run was stopped."""
    return Outcome(key, "lost", reason=reason, error_type="lost")


def _version() -> str:
    from mtbench import __version__

    return __version__
