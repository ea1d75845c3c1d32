"""What a run writes to its results directory: every attempt at a unit, and the state of every row."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from typing import Any

from mtbench.engine.job import Outcome
from mtbench.engine.maker import Maker
from mtbench.engine.origin import Origin, origin
from mtbench.errors import RequestError, shorten
from mtbench.hashing import hash_of
from mtbench.plan import Plan, Row
from mtbench.registry.registry import Registry
from mtbench.results import provenance
from mtbench.results.blind import surroundings
from mtbench.results.currency import current_sources
from mtbench.results.directory import Results
from mtbench.results.entries import Attempt, Begun, CaseValues, Order, Resolved, RowState, RunAsked, UnitAsked
from mtbench.results.environments import environment_file
from mtbench.stages.unit import Unit
from mtbench.store.files import write_whole
from mtbench.store.folders import weights_folder
from mtbench.store.leases import over

MOST = 20_000
"""The most characters of a reason or a note, a fifth of those of a log; longer texts are cut in the middle."""
STOPPED = "The run ended while this unit was running (killed, or the machine went down)."


@dataclass
class RunRecord:
    """The record of one run.

    Args:
        plan, registry: the plan and its plugins.
        maker: of the run: the artefacts of the units that have succeeded, and the leases.
        results: an open results directory, inside ``results.writing()``.
        executor: the executor's name.
        request: the user's request; see :meth:`mtbench.engine.request.RunRequest.record`.
    """

    plan: Plan
    registry: Registry
    maker: Maker
    results: Results
    executor: str
    request: dict[str, object]
    _unit_keys: set[str] = field(default_factory=set)
    _last_artefacts: dict[str, tuple[float, str, str]] = field(default_factory=dict)
    _row_states: dict[str, tuple[float, str]] = field(default_factory=dict)
    _attempts: Counter[str] = field(default_factory=Counter)
    _current: dict[str, str] = field(default_factory=dict)

    def recall(self) -> None:
        """Read the existing content of this results directory, so that an identical run adds nothing.

        Attempts that a run began and never ended are recorded as lost, unless that run is alive.
        """
        order: list[str] = []
        begun: dict[tuple[str, str, int], Begun] = {}
        entries = list(self.results.entries())
        self._current = current_sources(entries)
        for entry in entries:
            if isinstance(entry, Attempt | Begun):
                self._attempts[entry.unit_key] = max(self._attempts[entry.unit_key], entry.attempt)
            if isinstance(entry, Begun):
                begun[entry.this] = entry
            elif isinstance(entry, Attempt):
                begun.pop(entry.this, None)
                if entry.good and entry.at >= self._last_artefacts.get(entry.unit_key, (0.0,))[0]:
                    self._last_artefacts[entry.unit_key] = entry.at, entry.artefact, entry.digest
            elif isinstance(entry, RowState) and entry.at >= self._row_states.get(entry.row, (0.0, ""))[0]:
                self._row_states[entry.row] = (entry.at, entry.mark)
            elif isinstance(entry, Order):
                order = entry.rows
            elif isinstance(entry, UnitAsked):
                self._unit_keys.add(entry.unit_key)
        self.results.latest = max([self.results.latest, *(entry.at for entry in entries)])
        for beginning in begun.values():
            if over(beginning.run, Path(beginning.beat)):
                self.results.append(beginning.ended(status="lost", reason=STOPPED, error_type="lost"))
        # Rows in the suite's order, not in the order of completion; a narrowed run moves none.
        ids = [row.id for row in self.plan.rows]
        if not set(ids) <= set(order):
            self.results.append(Order(rows=[*ids, *(row for row in order if row not in set(ids))]))

    def attempt(self, unit: Unit, outcome: Outcome | None = None, *, begun: bool = False) -> None:
        """Record that an attempt begins (no ``outcome``) or has ended; ``begun`` if its beginning is recorded."""
        if unit.key not in self._unit_keys:
            # The unit's request, once, without this machine's paths.
            self._unit_keys.add(unit.key)
            names = ("stage", "kind", "plugin", "name", "seed", "precision", "threads")
            request: dict[str, Any] = {name: getattr(unit, name) for name in names}
            request |= {"params": dict(unit.params), "options": unit.options.to_json(), "inputs": unit.inputs}
            self.results.append(UnitAsked(unit_key=unit.key, **request))
        where = self._where(unit, outcome)
        if outcome and outcome.status in ("ok", "cached"):
            last = where, outcome.digest
            if outcome.status == "cached" and self._last_artefacts.get(unit.key, ())[1:] == last:
                return
            self._last_artefacts[unit.key] = (0.0, *last)
        self._attempts[unit.key] += not begun
        environment = provenance.environment(outcome.gpu if outcome else {})
        path = self.results.path / environment_file(environment.id)
        if not path.exists():
            write_whole(path, lambda file: file.write(json.dumps(vars(environment), indent=1).encode()))
        if self.request:
            run_request = RunAsked.from_json({**self.request, **self._surroundings()})
            self.results.append(replace(run_request, run=self.maker.leases.run))
            self.request = {}
        if outcome:
            self.results.append(self._entry(unit, outcome, where))
            return
        outcome = Outcome(unit.key, "", started=datetime.now(UTC).isoformat(timespec="seconds"))
        self.results.append(Begun.of(self._entry(unit, outcome, where), str(self.maker.leases.beat)))

    def _where(self, unit: Unit, outcome: Outcome | None) -> str:
        """The address of a unit's artefact; a fit that ``--keep`` reuses has the address of its own code."""
        artefact, place = self.maker.artefacts.get(unit.key), self.maker.places.get(unit.key)
        if artefact is not None and outcome and outcome.status in ("ok", "cached"):
            return artefact.path.name
        return place.address if place else ""

    def _surroundings(self) -> dict[str, list[str]]:
        """The folders and hosts that blind exports omit."""
        own = [self.results.path, self.maker.leases.beat.parents[2]]
        with contextlib.suppress(RequestError):  # no home folder
            own.append(weights_folder())
        return surroundings([*own, *(path for unit in self.plan.units.values() for path in unit.paths.values())])

    def _entry(self, unit: Unit, outcome: Outcome, artefact: str) -> Attempt:
        from mtbench import __version__

        versions = {"mtbench": __version__}
        for other in (unit, *ancestors(self.plan, unit)):
            if other.plugin:
                plugin = self.registry.get(other.kind, other.plugin).plugin
                if not plugin.built_in:
                    versions[plugin.distribution] = plugin.version
        return Attempt(
            run=self.maker.leases.run,
            suite=self.plan.suite.name,
            unit_key=unit.key,
            stage=unit.stage,
            name=unit.name,
            attempt=self._attempts[unit.key],
            status=outcome.status,
            reason=shorten(outcome.reason, MOST),
            error_type=outcome.error_type,
            log=shorten(outcome.log or "\n".join(outcome.info.get("notes", ())), 5 * MOST),
            started=outcome.started,
            seconds=outcome.seconds,
            images=outcome.images,
            peak_memory_mb=outcome.peak_memory_mb,
            host_memory_mb=outcome.host_memory_mb,
            device=outcome.device,
            host=gethostname(),
            executor=self.executor,
            plugins=json.dumps(versions, sort_keys=True),
            git_commit=provenance.git_commit(),
            environment_id=provenance.environment(outcome.gpu).id,
            artefact=artefact,
            digest=outcome.digest,
        )

    def row(self, row: Row, status: str, reason: str = "") -> None:
        """The state of a row: "measured", or "failed" or "skipped" with the reason."""
        artefacts, units = self.maker.artefacts, self.plan.units
        artefact = artefacts[row.unit] if status == "measured" else None
        fits = [artefacts[key].digest for key in row.fits if key in artefacts]
        columns = {**row.columns, "status": status, "unit_key": row.unit, "fit_digest": ",".join(fits)}
        where = Origin()
        if row.unit:
            where = origin(self.plan, row, (units[row.unit], *ancestors(self.plan, units[row.unit])), artefacts)
            columns |= {**where.columns(), "left_out": shorten(where.left_out, MOST)}
        if artefact is not None:
            columns["input_digest"] = hash_of(artefact.manifest["contents"])
        sources = {name: source.to_json() for name, source in where.sources.items()}
        mark = hash_of([columns, artefact.digest if artefact else reason, sources, where.notes])
        # A source whose content differs from that of an earlier run makes the rows that depend on it stale.
        resolved = {**where.others, **where.sources}
        known = self._current
        news = {name: source for name, source in resolved.items() if known.get(name, source.content) != source.content}
        if news:
            self.results.append(Resolved(run=self.maker.leases.run, made_from=news))
        self._current |= {name: source.content for name, source in (news | where.sources).items()}
        if self._row_states.get(row.id, (0.0, ""))[1] == mark:
            return
        self._row_states[row.id] = (0.0, mark)
        scores: list[dict[str, object]] = [{"label": "", "note": shorten(reason, MOST)}]
        cases: list[CaseValues] = []
        if artefact is not None:
            scoring = json.loads((artefact.path / "score.json").read_text())
            common = {k: v for k, v in scoring.items() if k not in ("scores", "cases")}
            scores = [{**common, **score} for score in scoring["scores"]]
            for score in scores:
                score["note"] = shorten("; ".join(filter(None, (str(score.get("note") or ""), *where.notes))), MOST)
            cases = [CaseValues.from_json(raw) for raw in scoring["cases"]]
        self.results.append(
            RowState(
                run=self.maker.leases.run,
                row=row.id,
                status=status,
                mark=mark,
                made_from=where.sources,
                columns=columns,
                scores=scores,
                cases=tuple(cases),
            )
        )


def ancestors(plan: Plan, unit: Unit) -> Iterator[Unit]:
    """The units that a unit depends on, each once."""
    keys: set[str] = set()
    stack = list(unit.inputs.values())
    while stack:
        key = stack.pop()
        if key not in keys:
            keys.add(key)
            yield plan.units[key]
            stack += plan.units[key].inputs.values()


def lost(key: str, reason: str) -> Outcome:
    """The outcome of a unit that was running when its run ended."""
    return Outcome(key, "lost", reason=reason, error_type="lost")
