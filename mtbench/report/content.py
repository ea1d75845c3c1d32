"""The content of the report's page, assembled from a result and its artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench import __version__
from mtbench.analysis.columns import anonymise, params
from mtbench.analysis.correlation import Correlation, Correlations, correlate, undrawn
from mtbench.analysis.model import Cell, ResultsTable, Section, TableColumn, TableRow
from mtbench.analysis.numbers import format_coefficient, format_number, format_p
from mtbench.analysis.regrettext import LEGEND as REGRET_LEGEND
from mtbench.analysis.regrettext import regret_tables
from mtbench.ledger import Rules
from mtbench.report import charts, overtraining
from mtbench.report.attempts import Cost, costs, failures, provenance
from mtbench.report.changes import find_changes
from mtbench.report.curves import Curve, find_curves
from mtbench.report.evidence import Evidence
from mtbench.report.examples import find_examples
from mtbench.report.explain import Explanations, Glossary
from mtbench.report.html import render
from mtbench.report.ledgerpage import ledger_record
from mtbench.report.ledgertext import LEGEND as LEDGER_LEGEND
from mtbench.report.methods import describe
from mtbench.report.ran import division_rows, find_ran, method_rows
from mtbench.report.records import Records
from mtbench.report.result import Result
from mtbench.report.summary import metric_key, omissions, podiums, tiles, warnings
from mtbench.report.tiles import picture_record
from mtbench.results.bibliography import cited
from mtbench.results.identity import DETAILS

SECTIONS = {
    "summary": "Summary",
    "table": "Table",
    "images": "Images",
    "ledger": "Ledger",
    "correlation": "Correlation",
    "cases": "Cases",
    "training": "Training",
    "cost": "Cost",
    "failures": "Failures",
    "ran": "What was run",
    "methods": "Methods",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class TablePart:
    """The columns of one task in a section, and its rows by kind ("translators", "reference") with their cells."""

    task: str
    heading: str
    columns: list[TableColumn]
    bodies: list[tuple[str, list[tuple[TableRow, list[Cell]]]]]


def report(
    result: Result,
    table: ResultsTable,
    evidence: Evidence,
    *,
    title: str = "",
    with_provenance: bool = False,
    slices: Sequence[str] = (),
) -> str:
    """The report as one HTML page.

    Args:
        result: the result.
        table: its table, with intervals as spread.
        evidence: the artefacts.
        title: replaces the suite's name.
        with_provenance: whether to show host names, folders and logs.
        slices: which slices to show; see :func:`mtbench.report.examples.find_examples`.

    Raises:
        RequestError: the installed Plotly cannot be embedded in a page.
    """
    attempts = result.attempts
    folder = None if result.name.startswith("published:") else Path(result.name)
    unit_costs, unit_failures = costs(attempts), failures(attempts, logs=with_provenance)
    curves, records = find_curves(attempts, evidence), Records(result.name, private=with_provenance)
    cost = charts.cost_charts(unit_costs)
    correlation, training = _correlation(result, table), charts.curve_charts(curves)
    cases = charts.case_charts(result)
    kept = overtraining.find(result)
    over_training = overtraining.over_training_charts(kept)
    all_charts = [*correlation.pop("drawn"), *training, *over_training, *cost, *(chart for chart, _ in cases)]
    content = {
        "title": title or table.title or "Results",
        "lead": "; ".join(result.layout.titles[b] for b in result.blocks),
        "version": __version__,
        "sections": list(SECTIONS.items()),
        "tiles": tiles(result, unit_costs, len(unit_failures)),
        "cautions": warnings(result, table, len(unit_failures)),
        "podiums": podiums(table),
        **_table(table),
        "pictures": picture_record(find_examples(result, evidence, slices)),
        "ledgers": ledger_record(find_changes(result, evidence, Rules())),
        "ledger_legend": LEDGER_LEGEND,
        **correlation,
        "cases": cases,
        "curves": training,
        "curve_rows": _curve_rows(curves),
        "over_training": over_training,
        "regret_tables": [table for task in kept.tasks for table in regret_tables(task)],
        "regret_remarks": REGRET_LEGEND if kept.tasks else (),
        "no_curves": _no_curves(attempts),
        "cost_charts": cost,
        "cost_rows": [_cost_row(unit) for unit in unit_costs],
        "unit_failures": unit_failures,
        "omissions": omissions(result),
        "rows_without_number": _rows_without_number(result, with_provenance=with_provenance),
        **_ran(result, table, records, evidence, curves),
        "provenance": [
            *_data_facts(result),
            *provenance(attempts, folder, everything=with_provenance),
            *([("references", references)] if folder and (references := cited(folder)) else []),
        ],
        "with_provenance": with_provenance,
    }
    return render(content, {chart.id: charts.as_record(chart) for chart in all_charts})


def _ran(
    result: Result, table: ResultsTable, records: Records, evidence: Evidence, curves: Sequence[Curve]
) -> dict[str, Any]:
    """What was run, how to repeat it, and the methods section."""
    ran = find_ran(result, records, evidence, curves)
    return {
        "methods": method_rows(ran),
        "divisions": division_rows(ran),
        "commands": records.commands(),
        "description": describe(result, table, ran),
    }


def _table(table: ResultsTable) -> dict[str, Any]:
    parts = [part for section in table.sections for part in _parts(section)]
    tasks = list(dict.fromkeys(part.task for part in parts))
    parts.sort(key=lambda part: tasks.index(part.task))
    return {
        "parts": parts,
        "tasks": tasks,
        "metrics": list(dict.fromkeys(metric_key(column) for part in parts for column in part.columns)),
        "metric_key": metric_key,
        "explain": Explanations(),
        "glossary": Glossary(table),
        "spreads": any(c.suffix for s in table.sections for row in s.rows for c in row.cells),
        "footnotes": table.footnotes,
        "remarks": table.remarks,
    }


# -- table


def _parts(section: Section) -> list[TablePart]:
    """A section task by task: its columns, translators and reference rows."""
    parts = []
    for task in dict.fromkeys(column.task for column in section.columns):
        of = [i for i, column in enumerate(section.columns) if column.task == task]
        rows = [(row, [row.cells[i] for i in of]) for row in section.rows]
        rows = [
            (row, cells) for row, cells in rows if row.role == "translator" or any(c.status != "missing" for c in cells)
        ]
        bodies = [
            ("translators", [pair for pair in rows if pair[0].role == "translator"]),
            ("reference", [pair for pair in rows if pair[0].role != "translator"]),
        ]
        columns = [section.columns[i] for i in of]
        parts.append(TablePart(task, section.heading, columns, [body for body in bodies if body[1]]))
    return parts


# -- correlation

_CORRELATION_LEGEND = (
    "r: Pearson, rho: Spearman, tau: Kendall. Leave one out: range of r without each translator in turn. "
    "p: permutation test over translators. p (Holm): p adjusted for all pairs of metrics of these tasks."
)


def correlate_result(result: Result, rule: str) -> Correlations:
    selection = result.selection
    correlations = correlate(
        result.scores,
        rule="paper" if rule == "paper" else "default",
        rows=selection["rows"],
        datasets=selection["datasets"],
    )
    names = {result.column_name(c) for _, c in result.layout.columns}
    items = tuple(item for item in correlations.items if {item.metric, item.against} <= names)
    return Correlations(items, correlations.rule, correlations.remarks)


def _correlation(result: Result, table: ResultsTable) -> dict[str, Any]:
    correlations = correlate_result(result, table.rule)
    drawn = charts.correlation_charts(result, correlations)
    few = [f"{task}: {text}" for task, text in undrawn(correlations).items()]
    return {
        "drawn": drawn,
        "correlations": _correlation_record(correlations, drawn),
        "correlation_remarks": [_CORRELATION_LEGEND, *few, *correlations.remarks],
        "no_correlation": "No correlations: they need a segmentation metric and another metric on the same task.",
    }


def _correlation_record(
    correlations: Correlations, agreement: Sequence[charts.Chart]
) -> list[tuple[str, list[charts.Chart], list[list[str]]]]:
    return [
        (
            task,
            [chart for chart in agreement if chart.task == task],
            [_correlation_row(item, correlations.rule == "paper") for item in correlations.items if item.task == task],
        )
        for task in dict.fromkeys(item.task for item in correlations.items)
    ]


def _correlation_row(item: Correlation, absolute: bool) -> list[str]:
    r, rho, tau = (item.estimates[method] for method in ("pearson", "spearman", "kendall"))
    coefficients = [format_coefficient(estimate.coefficient(absolute), absolute) for estimate in (r, rho, tau)]
    figures = [coefficients[0], r.jackknife_range(absolute), format_p(r.p), format_p(r.p_holm), *coefficients[1:]]
    return [item.metric, item.against, str(item.n), *figures]


# -- rows of plain tables


def _curve_rows(curves: Sequence[Curve]) -> list[list[str]]:
    return [
        [curve.name, name if phase == "train" else f"{name} (validation)", str(steps[-1]), format_number(values[-1])]
        for curve in curves
        for (phase, name), (steps, values) in curve.series.items()
    ]


def _no_curves(attempts: Sequence[Mapping[str, Any]]) -> str:
    if not any(row["stage"] == "fit" for row in attempts):
        return "No model was trained in these results."
    return "No loss curves: the fits recorded none, or their artefacts are not in this store (see --store)."


def _cost_row(cost: Cost) -> list[str]:
    rate, memory = cost.rate, cost.memory
    return [
        cost.name,
        cost.stage,
        f"{cost.seconds:.1f}" if cost.seconds >= 10 else f"{cost.seconds:.2f}",
        "–" if cost.images is None else str(cost.images),
        "–" if rate is None else format_number(rate),
        "–" if memory is None else f"{memory:.0f}",
        cost.device,
        str(cost.attempts),
    ]


def _rows_without_number(result: Result, *, with_provenance: bool) -> list[tuple[str, ...]]:
    """Task, row, metric, state and reason of every run without a score."""
    rows = []
    blocks, row_numbers = set(result.blocks), set(result.layout.rows)
    for (b, r, c), reasons in result.averages.reasons.items():
        if b in blocks and r in row_numbers:
            names = (result.layout.titles[b], result.layout.labels[r], result.column_name(c))
            rows += [(*names, status, text if with_provenance else anonymise(text)) for status, text in reasons]
    return list(dict.fromkeys(rows))


def _data_facts(result: Result) -> list[tuple[str, list[str]]]:
    """The data, and the settings of each metric."""
    facts = [("Suite", list(result.averages.suites)), ("Source", list(result.averages.sources))]
    for b in result.blocks:
        block = result.averages.blocks[b]
        details = (("revision", "dataset_revision"), ("parameters", "dataset_params"), ("split", "split"))
        lines = [f"{word} {_setting_text(block[key])}" for word, key in details if block[key] not in ("", "{}", None)]
        facts.append((f"Data of {block['dataset']}", lines))
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for _, c in result.layout.columns:
        by_name.setdefault(result.layout.names[c], []).append(result.averages.columns[c])
    for name, columns in by_name.items():
        lines = []
        for key in DETAILS:
            values = dict.fromkeys(
                _setting_text(column[key]) for column in columns if column[key] not in ("", "{}", None)
            )
            if values:
                lines.append(f"{key.replace('_', ' ')} {'; '.join(filter(None, values))}")
        facts.append((name, lines))
    return [(head, lines) for head, lines in facts if lines]


def _setting_text(value: Any) -> str:
    """A column's value as printed: parameters that are set, without folders."""
    if isinstance(value, str) and value.startswith("{"):
        return ", ".join(f"{name} {setting}" for name, setting in params(value).items() if setting is not None)
    return anonymise(str(value))
