"""Cost, failures and provenance of a run, read from its attempts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench.analysis.columns import anonymise
from mtbench.results.environments import environment, gpu_text
from mtbench.results.provenance import Environment
from mtbench.store.files import sha256_of

Attempt = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """The cost of one unit when it was computed.

    Attributes:
        stage, name: of the unit; ``name`` without the stage.
        seconds: of its last successful attempt.
        attempts: number of attempts.
        images: number of images processed; ``None`` if not applicable.
        rate: images per second.
        memory: peak of its process, in MB; ``None`` if it was not measured.
        device: where it ran.
    """

    stage: str
    name: str
    seconds: float
    attempts: int
    images: int | None
    rate: float | None
    memory: float | None
    device: str


@dataclass(frozen=True)
class Failure:
    """A unit that has not succeeded: its last attempt.

    Attributes:
        name: printed name, with the stage.
        status: "error", "timeout", "oom" or "lost".
        reason: one paragraph.
        error_type: the exception's class.
        attempts: number of attempts.
        dependents: number of units skipped because this one failed.
        log: the traceback; empty unless provenance is shown.
    """

    name: str
    status: str
    reason: str
    error_type: str
    attempts: int
    dependents: int
    log: str = ""


def costs(attempts: Sequence[Attempt]) -> list[Cost]:
    """The cost of every unit computed in this run; reused units cost nothing and are not listed."""
    by_unit: dict[str, Cost] = {}
    counts: dict[str, int] = {}
    for row in attempts:
        key = row["unit_key"]
        counts[key] = counts.get(key, 0) + (row["status"] not in ("cached", "skipped"))
        if row["status"] == "ok":
            seconds, images = row["seconds"] or 0.0, row["images"]
            stage = row["stage"]
            by_unit[key] = Cost(
                stage=stage,
                name=row["name"].removeprefix(f"{stage} "),
                seconds=seconds,
                attempts=counts[key],
                images=images,
                # A fit sees its images many times, so images per second would mean nothing.
                rate=images / seconds if images and seconds and stage != "fit" else None,
                memory=row["peak_memory_mb"],
                device=row["device"] or "",
            )
    return list(by_unit.values())


def failures(attempts: Sequence[Attempt], *, logs: bool) -> list[Failure]:
    """The units whose last attempt failed."""
    last: dict[str, Attempt] = {}
    counts: dict[str, int] = {}
    for row in attempts:
        last[row["unit_key"]] = row
        counts[row["unit_key"]] = counts.get(row["unit_key"], 0) + (row["status"] != "skipped")
    skipped = [row["reason"] for row in last.values() if row["status"] == "skipped"]
    return [
        Failure(
            name=row["name"],
            status=row["status"],
            reason=(str if logs else anonymise)(row["reason"] or "no reason recorded"),
            error_type=row["error_type"] or "",
            attempts=counts[key],
            dependents=sum(reason.startswith(f"{row['name']} failed") for reason in skipped if reason),
            log=(row["log"] or "") if logs else "",
        )
        for key, row in last.items()
        if row["status"] not in ("ok", "cached", "skipped")
    ]


def provenance(attempts: Sequence[Attempt], folder: Path | None, *, everything: bool) -> list[tuple[str, list[str]]]:
    """Software and hardware behind the results, as headings and lines.

    Args:
        attempts: of the result.
        folder: the results directory, which holds the environments; ``None`` without one.
        everything: whether to show host names, folders and the full platform.
    """
    facts: list[tuple[str, list[str]]] = []
    plugins: dict[str, set[str]] = {}
    for row in attempts:
        for name, version in json.loads(row["plugins"] or "{}").items():
            plugins.setdefault(name, set()).add(version)
    facts.append(("Distributions", [f"{n} {', '.join(sorted(v))}" for n, v in sorted(plugins.items())]))
    facts.append(("Commit of mtbench", _unique(row["git_commit"] for row in attempts)))
    times = sorted(row["started"] for row in attempts if row["started"])
    if times:
        facts.append(("Computed", [f"{times[0][:16].replace('T', ' ')} to {times[-1][:16].replace('T', ' ')} UTC"]))
    facts.append(("Devices", _unique(row["device"] for row in attempts)))
    facts.append(("Executors", _unique(row["executor"] for row in attempts)))
    for identity in _unique(row["environment_id"] for row in attempts):
        facts += _environment(identity, folder, everything)
    if folder is not None:
        tables = [folder / f"{name}.parquet" for name in ("scores", "cases")]
        lines = [f"{path.name} {sha256_of(path)}" for path in tables if path.is_file()]
        facts.append(("sha256 of the tables", lines))
    if everything:
        facts.append(("Hosts", _unique(row["host"] for row in attempts)))
        facts.append(("Results directory", [str(folder.resolve())] if folder is not None else []))
    return [(head, lines) for head, lines in facts if lines]


def _environment(identity: str, folder: Path | None, everything: bool) -> list[tuple[str, list[str]]]:
    about = environment(folder, identity) if folder else Environment()
    platform = about.platform if everything else about.platform.partition("-")[0]
    lines = [f"Python {about.python}"] if about.python else []
    lines += [f"{platform} {about.machine}".strip()] if platform else []
    lines += [gpu] if (gpu := gpu_text(about.gpu)) else []
    facts = [(f"Environment {identity}", lines or ["no description in the results directory"])]
    return [*facts, (f"Packages of {identity}", list(about.packages))] if about.packages else facts


def _unique(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))
