"""The translators of a results directory as teams."""

from __future__ import annotations

import pyarrow as pa

from mtbench.analysis.gather import current
from mtbench.challenges.teams import Results
from mtbench.errors import RequestError
from mtbench.paths import expand
from mtbench.results.directory import MARKER, load


def is_directory(source: str) -> bool:
    """Whether a source is a results directory, or published results."""
    return source.startswith("published:") or (expand(source) / MARKER).is_file()


def add_directory(results: Results, source: str, dataset: str | None) -> None:
    """Add the test scores of each translator, averaged over seeds, folds and fits.

    Metrics without values by case (FID) have a mean only.

    Raises:
        RequestError: it holds several data sets and none is chosen, or no score of a translator.
    """
    path = source if source.startswith("published:") else str(expand(source))
    scores, stale = current(load(path))
    results.remarks += [stale] if stale else []
    rows = [row for row in scores.to_pylist() if _counts(row)]
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    if dataset is None and len(names) > 1:
        raise RequestError(
            "the results hold several data sets", where=path, expected="--dataset with one of " + ", ".join(names)
        )
    rows = [row for row in rows if dataset in (None, row["dataset"])]
    if not rows:
        expected = f"one of {', '.join(names)}" if names else "scores of translators"
        raise RequestError(f"no scores of translators on '{dataset or path}'", where=path, expected=expected)
    cases = _cases(load(path, "cases"), {row["row_id"] for row in rows})
    gathered: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        metric = _name(row)
        results.higher_is_better[metric] = bool(row["higher_is_better"])
        values = gathered.setdefault((_team(row), metric), {})
        for case, value in (cases.get(row["row_id"]) or {"": row["value"]}).items():
            values.setdefault(case, []).append(value)
    for (team, metric), values in gathered.items():
        results.add(team, metric, {case: sum(each) / len(each) for case, each in values.items()}, path)


def _counts(row: dict[str, object]) -> bool:
    """Whether a row is an ordinary score of a translator that may be ranked."""
    ordinary = row["role"] == "translator" and row["status"] in ("measured", "published")
    aside = row["checkpoint"] or row["scored_on"] or row["caveat"] or row["conditional"]
    return ordinary and row["value"] is not None and not aside


def _name(row: dict[str, object]) -> str:
    variant = f"[{row['variant']}]" if row["variant"] else ""
    return f"{row['metric']}{variant}" + (f" {row['label']}" if row["label"] else "")


def _team(row: dict[str, object]) -> str:
    changed = str(row["translator_params"] or "")
    return f"{row['translator']} {changed}" if changed not in ("", "{}") else str(row["translator"])


def _cases(table: pa.Table, ids: set[str]) -> dict[str, dict[str, float]]:
    """Case to value by row id; of the rows whose cases all have a value."""
    values: dict[str, dict[str, float]] = {}
    incomplete = set()
    for row_id, case, value in zip(*(table[name].to_pylist() for name in ("row_id", "case", "value")), strict=True):
        if row_id not in ids:
            continue
        if value is None:
            incomplete.add(row_id)
        else:
            values.setdefault(row_id, {})[case] = value
    return {row_id: each for row_id, each in values.items() if row_id not in incomplete}
