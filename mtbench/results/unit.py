"""How a unit of a results directory was computed, and the command that recomputes it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError, close_matches
from mtbench.jsontext import LARGEST
from mtbench.results.directory import Results, last_states
from mtbench.results.entries import Attempt, RunAsked, UnitAsked
from mtbench.results.environments import Provenance, provenance_of, suite_file
from mtbench.store.files import read_regular

SHORTEST = 4
"""The fewest characters of a key that may identify a unit, if they are unique."""
_ASKED = ("kind", "plugin", "params", "seed", "options", "precision", "threads")
_TRIED = ("attempt", "status", "reason", "started", "seconds")


@dataclass(frozen=True)
class UnitDetails:
    """Everything that a results directory records about a unit.

    Attributes:
        key, name, stage: of the unit.
        request: plugin, parameters, seed, options, precision, threads; empty in journals of older versions.
        inputs: role to name and digest of its inputs, nearest first; inputs of inputs after them.
        provenance: the environment in which it was computed.
        digest: of its artefact.
        attempts: number, status, reason, start and seconds of each attempt.
        rows: the rows of the scores table that it fills: data, weights, values.
        command: recomputes it; empty in journals of older versions.
        remarks: sentences about the command.
    """

    key: str
    name: str
    stage: str
    request: Mapping[str, Any]
    inputs: tuple[tuple[str, str, str], ...]
    provenance: Provenance
    digest: str
    attempts: tuple[Mapping[str, Any], ...]
    rows: tuple[Mapping[str, Any], ...]
    command: str = ""
    remarks: tuple[str, ...] = field(default=())


def unit_details(path: Path, name: str) -> UnitDetails:
    """The details of a unit.

    Args:
        path: a results directory.
        name: the unit's key, its beginning (four characters or more), or its name.

    Raises:
        RequestError: no unit or several units match.
    """
    results = Results.open(path)
    entries = list(results.entries())
    attempts, _, _ = last_states(entries)
    key = _find(attempts, name, path)
    descriptions = {entry.unit_key: entry for entry in entries if isinstance(entry, UnitAsked)}
    own_attempts = [a for a in attempts if a.unit_key == key]
    rows = [row for row in results.table("scores").to_pylist() if row["unit_key"] == key]
    unit = descriptions.get(key)
    requests = {entry.run: entry for entry in entries if isinstance(entry, RunAsked)}
    command, remarks = _command(path, key, requests.get(own_attempts[-1].run), rows)
    return UnitDetails(
        key=key,
        name=own_attempts[-1].name,
        stage=own_attempts[-1].stage,
        request={name: getattr(unit, name) for name in _ASKED} if unit else {},
        inputs=tuple(_inputs(key, descriptions, attempts)),
        provenance=provenance_of(path, own_attempts),
        digest=next((a.digest for a in reversed(own_attempts) if a.digest), ""),
        attempts=tuple({name: getattr(a, name) for name in _TRIED} for a in own_attempts),
        rows=tuple(rows),
        command=command,
        remarks=remarks,
    )


def _find(attempts: list[Attempt], text: str, path: Path) -> str:
    names = {a.unit_key: a.name for a in attempts}
    keys = [key for key, name in names.items() if name == text]
    if not keys and len(text) >= SHORTEST:
        keys = [key for key in names if key.startswith(text)]
    if len(keys) == 1:
        return keys[0]
    if keys:
        examples = ", ".join(f"{key[:12]} ({names[key]})" for key in keys[:5])
        raise RequestError(
            f"'{text}' matches {len(keys)} units: {examples}", where=str(path), remedy="Use more characters of the key"
        )
    raise RequestError(
        f"unknown unit '{text}'",
        where=str(path),
        expected="a unit's name, its key, or at least the first four characters of the key",
        matches=close_matches(text, names.values()),
        remedy="`mtbench results show RESULTS --units` lists them",
    )


def _inputs(key: str, descriptions: Mapping[str, UnitAsked], attempts: list[Attempt]) -> list[tuple[str, str, str]]:
    digests = {a.unit_key: a.digest for a in attempts if a.digest}
    inputs: dict[str, tuple[str, str, str]] = {}
    waiting = [key]
    while waiting:
        unit = descriptions.get(waiting.pop(0))
        for role, other in unit.inputs.items() if unit else ():
            if other not in inputs:
                name = descriptions[other].name if other in descriptions else other[:12]
                inputs[other] = (role, name, digests.get(other, ""))
                waiting.append(other)
    return list(inputs.values())


def _command(path: Path, key: str, request: RunAsked | None, rows: list[dict[str, Any]]) -> tuple[str, tuple[str, ...]]:
    if request is None:
        return "", ("The command is unknown, because an older version of mtbench wrote these results.",)
    options, remarks = list(request.options), []
    copy = path / Path(request.copy).name if request.copy else None
    suite = request.suite
    if copy is not None:
        source = Path(suite)
        if not os.path.isfile(source):
            suite = str(copy)
            remarks.append(
                "The suite's file no longer exists, so the command names its copy; check its relative paths."
            )
        elif os.path.lexists(copy) and suite_file(_beginning(source)) != suite_file(read_regular(copy, LARGEST)):
            remarks.append(f"The suite has changed since the run, which used {copy}.")
    # A narrower run computes the same unit under the same key, and fewer others.
    for option, values in _narrowing_options(rows).items():
        if option not in options:
            options += [word for value in values for word in (option, value)]
    risky = [option for option in options if option in ("--plugin", "--trust-suite", "--config")]
    if risky:
        programs = [value for option, value in pairwise(options) if option == "--plugin"]
        remarks.append(_warning("--plugin" in risky, programs, "--trust-suite" in risky))
    words = ["mtbench", "run", suite, *options, "--rerun", key[:12], "--out", str(path)]
    return shlex.join(words), tuple(remarks)


def _beginning(path: Path) -> bytes:
    """The text of a suite; empty if it cannot be read, cut if it is too large to be a suite."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError:
        return b""


def _warning(plugins: bool, programs: list[str], trusts: bool) -> str:
    parts = []
    if plugins:
        parts.append(f"loads code ({', '.join(programs)})")
    if trusts:
        parts.append("lets the suite run programs (--trust-suite)")
    return (
        f"Warning: the command {' and '.join(parts) or 'reads a configuration'}, as recorded in these results. "
        "Run it only if you trust their author and have checked the files that it names."
    )


def _narrowing_options(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for option, column in (("-d", "dataset"), ("-t", "translator"), ("--seed", "seed")):
        values = [str(v) for v in dict.fromkeys(row[column] for row in rows) if v not in (None, "")]
        if values and all(row["role"] == "translator" for row in rows):
            options[option] = values
    return options


def as_record(details: UnitDetails) -> dict[str, object]:
    """The details for JSON, without packages and host."""
    hidden = ("packages", "host", "folder")
    return {
        "key": details.key,
        "name": details.name,
        "stage": details.stage,
        "asked": details.request,
        "digest": details.digest,
        "inputs": [{"role": role, "name": name, "digest": digest} for role, name, digest in details.inputs],
        "made": {k: v for k, v in vars(details.provenance).items() if k not in hidden},
        "tries": list(details.attempts),
        "rows": [json.loads(json.dumps(row, default=str)) for row in details.rows],
        "repeat": details.command,
        "remarks": list(details.remarks),
    }
