"""What the report's page shows, put together from a result and its artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtbench import __version__
from mtbench.analysis.columns import anonymous, params
from mtbench.analysis.correlation import Correlation, Correlations, Estimate, correlate
from mtbench.analysis.model import Cell, Column, ResultsTable, Section
from mtbench.analysis.numbers import printed
from mtbench.report import charts
from mtbench.report.attempts import Cost, costs, failures, provenance
from mtbench.report.curves import Curve, find_curves
from mtbench.report.evidence import Evidence
from mtbench.report.examples import find_examples
from mtbench.report.html import render
from mtbench.report.reading import Reading
from mtbench.report.tiles import picture_record
from mtbench.results.identity import DETAILS

SECTIONS = {
    "summary": "Summary",
    "table": "Table",
    "images": "Images",
    "correlation": "Correlation",
    "cases": "Cases",
    "training": "Training",
    "cost": "Cost",
    "failures": "Failures",
    "provenance": "Provenance",
}


def report(
    reading: Reading,
    table: ResultsTable,
    evidence: Evidence,
    *,
    title: str = "",
    with_provenance: bool = False,
    slices: Sequence[str] = (),
) -> str:
    """The report as one HTML page.

    Args:
        reading: the result.
        table: its table, with intervals as spread.
        evidence: its artefacts.
        title: in place of the suite's name.
        with_provenance: whether host names, folders and logs may be shown.
        slices: which slices to show; see :func:`mtbench.report.examples.find_examples`.

    Raises:
        RequestError: the installed Plotly cannot be put into a page.
    """
    attempts = reading.attempts
    done, failed = costs(attempts), failures(attempts, logs=with_provenance)
    found = correlations(reading, table.rule)
    curves = find_curves(attempts, evidence)
    agreement, cases = charts.correlation_charts(reading, found), charts.case_charts(reading)
    training, cost = charts.curve_charts(curves), charts.cost_charts(done)
    every = [*agreement, *training, *cost, *(chart for chart, _ in cases)]
    content = {
        "title": title or table.title or "Results",
        "lead": _lead(reading),
        "version": __version__,
        "sections": list(SECTIONS.items()),
        "tiles": _tiles(reading, done, len(failed)),
        "cautions": _cautions(reading, table, len(failed)),
        "winners": _winners(table),
        **_table(table),
        "pictures": picture_record(find_examples(reading, evidence, slices)),
        "correlations": _correlation_record(found, agreement),
        "correlation_remarks": [_CORRELATION_LEGEND, *found.remarks],
        "no_correlation": "Nothing to correlate: that takes a segmentation metric and another metric on one task.",
        "cases": [(chart, [(name, [_quartile_row(r) for r in rows]) for name, rows in of]) for chart, of in cases],
        "curves": training,
        "curve_rows": _curve_rows(curves),
        "no_curves": _no_curves(attempts),
        "cost_charts": cost,
        "cost_rows": [_cost_row(unit) for unit in done],
        "failed": failed,
        "left_out": _left_out(reading, anonymise=not with_provenance),
        "provenance": [*_data_facts(reading), *provenance(attempts, _folder(reading), everything=with_provenance)],
        "with_provenance": with_provenance,
    }
    return render(content, {chart.id: charts.as_record(chart) for chart in every})


def _table(table: ResultsTable) -> dict[str, Any]:
    parts = [part for section in table.sections for part in _parts(section)]
    tasks = list(dict.fromkeys(part["task"] for part in parts))
    parts.sort(key=lambda part: tasks.index(part["task"]))
    return {
        "parts": parts,
        "tasks": tasks,
        "metrics": list(dict.fromkeys(metric_key(column) for part in parts for column in part["columns"])),
        "metric_key": metric_key,
        "spreads": any(c.suffix for s in table.sections for row in s.rows for c in row.cells),
        "footnotes": table.footnotes,
        "remarks": table.remarks,
    }


def metric_key(column: Column) -> str:
    """What the table's filter calls a column by: its metric and variant."""
    return f"{column.metric}[{column.variant}]" if column.variant else column.metric


# -- summary


def _lead(reading: Reading) -> str:
    titles = [reading.layout.titles[b] for b in reading.blocks]
    return "; ".join(titles)


def _tiles(reading: Reading, done: Sequence[Cost], failed: int) -> list[tuple[str, str]]:
    rows = [r for r in reading.layout.rows if reading.found.rows[r]["role"] == "translator"]
    seeds = {run.seed for run in reading.runs if run.seed is not None}
    columns = {reading.layout.names[c] for _, c in reading.layout.columns}
    tiles = [
        (str(len(reading.blocks)), "task" if len(reading.blocks) == 1 else "tasks"),
        (str(len(rows)), "translator" if len(rows) == 1 else "translators"),
        (str(len(columns)), "metric" if len(columns) == 1 else "metrics"),
    ]
    if seeds:
        tiles.append((str(len(seeds)), "seed" if len(seeds) == 1 else "seeds"))
    if reading.attempts:
        tiles.append((_duration(sum(cost.seconds for cost in done)), "computed"))
        tiles.append((str(failed), "failure" if failed == 1 else "failures"))
    return tiles


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def _cautions(reading: Reading, table: ResultsTable, failed: int) -> list[str]:
    said = []
    if failed:
        said.append(f"{failed} unit{'s' if failed != 1 else ''} failed; cells that need them are marked. See Failures.")
    notes = {reading.found.blocks[b].get("task_note"): reading.layout.titles[b] for b in reading.blocks}
    said += [f"{title}: {note}" for note, title in notes.items() if note]
    for section in table.sections:
        if section.heading:
            names = dict.fromkeys(metric_key(column) for column in section.columns)
            said.append(f"{', '.join(names)}: {section.heading}. Shown, never ranked.")
    trained = [run for run in reading.runs if run.seed is not None]
    if trained and len({run.seed for run in trained}) == 1:
        said.append(
            "One seed only: differences between trained translators are of these checkpoints, not of the methods."
        )
    return said


def _winners(table: ResultsTable) -> list[tuple[str, list[dict[str, Any]]]]:
    """By task and ranked column, the best and the runner-up."""
    found: dict[str, list[dict[str, Any]]] = {}
    for section in table.sections:
        for i, column in enumerate(section.columns):
            places: dict[int, list[tuple[str, str]]] = {1: [], 2: []}
            for row in section.rows:
                if row.cells[i].rank in places:
                    places[row.cells[i].rank or 0].append((row.label, row.cells[i].text))
            if places[1]:
                line = {"title": column.title, "best": places[1], "second": places[2]}
                found.setdefault(column.task, []).append(line)
    return list(found.items())


# -- table


def _parts(section: Section) -> list[dict[str, Any]]:
    """A section task by task: its columns, translators and reference rows."""
    parts = []
    for task in dict.fromkeys(column.task for column in section.columns):
        of = [i for i, column in enumerate(section.columns) if column.task == task]
        rows = [(row, [row.cells[i] for i in of]) for row in section.rows]
        rows = [(row, cells) for row, cells in rows if not row.reference or any(map(_has_something, cells))]
        bodies = [
            ("translators", [pair for pair in rows if not pair[0].reference]),
            ("reference", [pair for pair in rows if pair[0].reference]),
        ]
        parts.append(
            {
                "task": task,
                "heading": section.heading,
                "columns": [section.columns[i] for i in of],
                "bodies": [(kind, pairs) for kind, pairs in bodies if pairs],
            }
        )
    return parts


def _has_something(cell: Cell) -> bool:
    return cell.status != "missing"


# -- correlation

_CORRELATION_LEGEND = (
    "r: Pearson; rho: Spearman; tau: Kendall. One left out: the range of r without each translator in turn. "
    "p: permutations of translators, adjusted by Holm over the whole report."
)


def correlations(reading: Reading, rule: str) -> Correlations:
    chosen = reading.selection
    found = correlate(
        reading.scores, rule="paper" if rule == "paper" else "default", rows=chosen["rows"], datasets=chosen["datasets"]
    )
    names = {reading.column_name(c) for _, c in reading.layout.columns}
    items = tuple(item for item in found.items if {item.metric, item.against} <= names)
    return Correlations(items, found.rule, found.remarks)


def _correlation_record(found: Correlations, drawn: Sequence[charts.Chart]) -> list[tuple[str, list[Any], list[Any]]]:
    return [
        (
            task,
            [chart for chart in drawn if chart.task == task],
            [_correlation_row(item, found.rule == "paper") for item in found.items if item.task == task],
        )
        for task in dict.fromkeys(item.task for item in found.items)
    ]


def _correlation_row(item: Correlation, absolute: bool) -> list[str]:
    r, rho, tau = (item.estimates[method] for method in ("pearson", "spearman", "kendall"))
    left = [abs(v) if absolute else v for v in (r.left_out or {}).values()]
    between = " to ".join(f"{v:.2f}" if absolute else f"{v:+.2f}" for v in (min(left), max(left))) if left else "–"
    figures = [_r(r, absolute), between, _p(r.p), _p(r.p_holm), _r(rho, absolute), _r(tau, absolute)]
    return [item.metric, item.against, str(item.n), *figures]


def _r(estimate: Estimate, absolute: bool) -> str:
    value = estimate.value if absolute else estimate.agreement
    return "–" if value is None else f"{abs(value):.2f}" if absolute else f"{value:+.2f}"


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


# -- rows of plain tables


def _quartile_row(row: Mapping[str, Any]) -> list[str]:
    return [row["label"], str(row["n"]), *(printed(value) for value in row["points"])]


def _curve_rows(curves: Sequence[Curve]) -> list[list[str]]:
    return [
        [curve.name, name if phase == "train" else f"{name} (validation)", str(steps[-1]), printed(values[-1])]
        for curve in curves
        for (phase, name), (steps, values) in curve.series.items()
    ]


def _no_curves(attempts: Sequence[Mapping[str, Any]]) -> str:
    if not any(row["stage"] == "fit" for row in attempts):
        return "Nothing was trained in these results."
    return "The fits of these results kept no losses, or are not in this store (it was emptied, or see --store)."


def _cost_row(cost: Cost) -> list[str]:
    rate, memory = cost.rate, cost.memory
    return [
        cost.name,
        cost.stage,
        f"{cost.seconds:.1f}" if cost.seconds >= 10 else f"{cost.seconds:.2f}",
        "–" if cost.images is None else str(cost.images),
        "–" if rate is None else printed(rate),
        "–" if memory is None else f"{memory:.0f}",
        cost.device,
        str(cost.tries),
    ]


def _left_out(reading: Reading, *, anonymise: bool) -> list[tuple[str, ...]]:
    """Task, row, metric, state and reason of every run that gave no number."""
    found = []
    blocks, shown = set(reading.blocks), set(reading.layout.rows)
    for (b, r, c), reasons in reading.found.reasons.items():
        if b in blocks and r in shown:
            names = (reading.layout.titles[b], reading.layout.labels[r], reading.column_name(c))
            found += [(*names, status, anonymous(text) if anonymise else text) for status, text in reasons]
    return list(dict.fromkeys(found))


def _data_facts(reading: Reading) -> list[tuple[str, list[str]]]:
    """Which data, and what the numbers of each metric rest on."""
    facts = [("Suite", list(reading.found.suites)), ("Source", list(reading.found.sources))]
    for b in reading.blocks:
        block = reading.found.blocks[b]
        named = (("revision", "dataset_revision"), ("parameters", "dataset_params"), ("split", "split"))
        lines = [f"{word} {_said(block[key])}" for word, key in named if block[key] not in ("", "{}", None)]
        facts.append((f"Data of {block['dataset']}", lines))
    for name, columns in _by_name(reading).items():
        lines = []
        for key in DETAILS:
            values = dict.fromkeys(_said(column[key]) for column in columns if column[key] not in ("", "{}", None))
            if values:
                lines.append(f"{key.replace('_', ' ')} {'; '.join(filter(None, values))}")
        facts.append((name, lines))
    return [(head, lines) for head, lines in facts if lines]


def _said(value: Any) -> str:
    """A column's value for people: parameters without those that are not set, and without folders."""
    if isinstance(value, str) and value.startswith("{"):
        return ", ".join(f"{name} {said}" for name, said in params(value).items() if said is not None)
    return anonymous(str(value))


def _by_name(reading: Reading) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for _, c in reading.layout.columns:
        found.setdefault(reading.layout.names[c], []).append(reading.found.columns[c])
    return found


def _folder(reading: Reading) -> Path | None:
    return None if reading.name.startswith("published:") else Path(reading.name)
