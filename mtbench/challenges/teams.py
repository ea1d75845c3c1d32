"""The results of several teams, from files and results directories."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtbench.challenges.records import Team
from mtbench.errors import DataError, RequestError
from mtbench.paths import expand
from mtbench.registry.challenges import ChallengeMetric

Scores = dict[str, dict[str, float]]
Reader = Callable[[Any], Mapping[str, Mapping[str, float]] | None]
_NOT_METRICS = ("team", "case", "metric", "value")


@dataclass
class Results:
    """The results of teams, as they are read.

    Attributes:
        scores: team to metric to case to value.
        higher_is_better: the directions that files and tables state, by metric.
        remarks: notes for readers about the sources.
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, team: str, metric: str, values: Mapping[str, float], where: str) -> None:
        """Add values of one metric.

        Raises:
            DataError: the team has this metric already, from another file.
        """
        metrics = self.scores.setdefault(team, {})
        if set(metrics.get(metric, {})) & set(values):
            raise DataError(
                f"'{team}' has two values of '{metric}' for the same case",
                where=where,
                expected="each team once",
                remedy="Rename a team, or omit one of the files",
            )
        metrics.setdefault(metric, {}).update(values)


def read_results(sources: Sequence[str], readers: Sequence[Reader], dataset: str | None = None) -> Results:
    """Read the results of teams.

    Args:
        sources: JSON files (one per team, named after it), CSV tables, folders of such files, and results directories
            or ``published:NAME``, whose translators are the teams.
        readers: read the JSON files of challenges.
        dataset: of the results directories that hold several tasks.

    Raises:
        RequestError: a path does not exist, or holds no results.
        DataError: a file cannot be read.
    """
    from mtbench.challenges.tables import add_directory, is_directory

    results = Results()
    for source in sources:
        if is_directory(source):
            add_directory(results, source, dataset)
            continue
        for file in _files(expand(source)):
            if file.suffix.lower() == ".csv":
                _add_csv(results, file)
            else:
                _add_json(results, file, readers)
    return results


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RequestError("the results do not exist", where=str(path))
    files = sorted(each for each in path.iterdir() if each.suffix.lower() in (".json", ".csv"))
    if not files:
        expected = "a JSON file for each team, CSV tables, or a results directory of `mtbench run`"
        raise RequestError("the folder holds no results", where=str(path), expected=expected)
    return files


def _add_json(results: Results, file: Path, readers: Sequence[Reader]) -> None:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"this JSON file cannot be read: {error}", where=str(file)) from error
    found: Mapping[str, Mapping[str, float]] | None
    if isinstance(document, list) and document and all(isinstance(row, dict) and "metric" in row for row in document):
        found = _rows(results, document, file)
    else:
        found = _read(document, readers, file)
    for metric, values in found.items():
        results.add(file.stem, metric, values, str(file))


def _read(document: Any, readers: Sequence[Reader], file: Path) -> Mapping[str, Mapping[str, float]]:
    try:
        for reader in readers:
            found = reader(document)
            if found is not None:
                return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the results file of a challenge is incomplete: {error!r}", where=str(file)) from error
    raise DataError(
        "mtbench does not recognise these results",
        where=str(file),
        expected="rows of `mtbench score --json`, or the results file of a challenge",
    )


def _rows(results: Results, rows: Sequence[Mapping[str, Any]], file: Path) -> Scores:
    """The rows of ``mtbench score --json``: those of the whole, unless a metric has parts only."""
    scores: Scores = {}
    whole = {row["metric"] for row in rows if not row.get("label")}
    for row in rows:
        if row.get("status") != "measured" or (row.get("label") and row["metric"] in whole):
            continue
        name = f"{row['metric']} {row['label']}" if row.get("label") else str(row["metric"])
        values = row.get("cases") or {"": row.get("value")}
        # JSON has no infinity: score writes null, which a ranking without this metric may leave alone.
        numbers = {case: float("nan") if value is None else value for case, value in values.items()}
        if strange := [value for value in numbers.values() if not isinstance(value, (int, float))]:
            raise DataError(f"'{name}' is {strange[0]!r}", where=str(file), expected="a number")
        scores[name] = {case: float(value) for case, value in numbers.items()}
        results.higher_is_better[name] = bool(row["higher_is_better"])
    return scores


def _add_csv(results: Results, file: Path) -> None:
    """A table with the columns team, metric, value (optionally case), or team (optionally case) and one per metric."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"this CSV table cannot be read: {error}", where=str(file)) from error
    if not rows or "team" not in rows[0]:
        expected = "the columns team, metric, value, or team and a column for each metric; case is optional"
        raise DataError("the table has no rows with a column 'team'", where=str(file), expected=expected)
    long = {"metric", "value"} <= set(rows[0])
    for number, row in enumerate(rows, start=2):
        pairs = {row["metric"]: row["value"]} if long else {k: v for k, v in row.items() if k not in _NOT_METRICS}
        for metric, text in pairs.items():
            if text is None or not text.strip():
                continue
            where = f"{file}, line {number}"
            results.add(row["team"], metric, {row.get("case") or "": _number(text, where, metric)}, where)


def _number(text: str, where: str, metric: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"'{metric}' is '{text}'", where=where, expected="a number") from error


def teams_of(results: Results, wanted: Sequence[str], without: Sequence[str]) -> tuple[list[Team], list[str]]:
    """The teams and the metrics that can be ranked.

    Args:
        results: as read.
        wanted: metric names; empty for all.
        without: metric names to omit.

    Raises:
        RequestError: a metric does not exist, or fewer than two teams are left.
        DataError: a team lacks a metric or a case that another has, or a value is not finite.
    """
    known = list(dict.fromkeys(name for scores in results.scores.values() for name in scores))
    for name in (*wanted, *without):
        if name not in known:
            raise RequestError(f"no team has the metric '{name}'", expected="one of " + ", ".join(known))
    metrics = [name for name in wanted or known if name not in without]
    if len(results.scores) < 2:
        raise RequestError(
            f"a ranking needs at least two teams; the number of teams is {len(results.scores)}",
            expected="a JSON file for each team, a CSV table of several, or a results directory with translators",
        )
    if not metrics:
        raise RequestError("no metric is left to rank by", expected="one of " + ", ".join(known))
    gaps = list(_gaps(results.scores, metrics))
    if gaps:
        lines = "".join(f"\n  {text}" for text in gaps)
        raise DataError(
            f"the results cannot be ranked:{lines}.\n",
            expected="the same metrics and cases for every team",
            remedy="Complete the results, or omit a metric with --without NAME",
        )
    return [Team(name, {m: scores[m] for m in metrics}) for name, scores in results.scores.items()], metrics


def _gaps(teams: Mapping[str, Scores], metrics: Sequence[str]) -> Iterator[str]:
    for metric in metrics:
        cases = dict.fromkeys(case for scores in teams.values() for case in scores.get(metric, {}))
        for name, scores in teams.items():
            if metric not in scores:
                yield f"'{name}' has no {metric}"
                continue
            absent = [case for case in cases if case not in scores[metric]]
            if absent:
                yield f"'{name}' has no {metric} for {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}"
            strange = [case for case, value in scores[metric].items() if not math.isfinite(value)]
            if strange:
                which = f" for {strange[0]}" if strange[0] else ""
                yield f"'{name}' has a value of {metric} that is not finite{which}"


def directions(
    metrics: Sequence[str], stated: Mapping[str, bool], declared: Mapping[str, ChallengeMetric]
) -> list[ChallengeMetric]:
    """The metrics with their directions, from the user or the files, or as a challenge declares them.

    Args:
        metrics: their names.
        stated: directions by name.
        declared: the metrics of challenges by name.

    Raises:
        RequestError: the direction of a metric is unknown.
    """
    result = []
    for name in metrics:
        known = declared.get(name)
        if name in stated:
            title = known.title if known else ""
            result.append(ChallengeMetric(name, stated[name], title))
        elif known is not None:
            result.append(known)
        else:
            raise RequestError(
                f"the direction of '{name}' is not known", remedy=f"Add --higher {name} or --lower {name}"
            )
    return result
