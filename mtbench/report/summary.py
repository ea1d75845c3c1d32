"""The summary of the page: counts, warnings, and the best scores beside floor and ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtbench.analysis.columns import anonymise
from mtbench.analysis.model import Cell, ResultsTable, Section, TableColumn
from mtbench.report.attempts import Cost
from mtbench.report.result import Result


@dataclass(frozen=True)
class Podium:
    """The best and the runner-up of a column, and its reference rows: printed names and scores."""

    column: TableColumn
    best: list[tuple[str, str]]
    second: list[tuple[str, str]]
    floor: str = ""
    ceiling: str = ""


def tiles(result: Result, unit_costs: Sequence[Cost], failure_count: int) -> list[tuple[str, str]]:
    """Counts with their names: tasks, translators, metrics, seeds, computing time, failures."""
    rows = [r for r in result.layout.rows if result.averages.rows[r]["role"] == "translator"]
    seeds = {run.seed for run in result.runs if run.seed is not None}
    columns = {result.layout.names[c] for _, c in result.layout.columns}
    counts = [(len(result.blocks), "task"), (len(rows), "translator"), (len(columns), "metric")]
    counts += [(len(seeds), "seed")] if seeds else []
    facts = [(str(count), noun if count == 1 else f"{noun}s") for count, noun in counts]
    if result.attempts:
        facts.append((_duration(sum(cost.seconds for cost in unit_costs)), "computed"))
        facts.append((str(failure_count), "failure" if failure_count == 1 else "failures"))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def warnings(result: Result, table: ResultsTable, failed: int) -> list[str]:
    """Warnings to read before the scores: failures, excluded cases, stale rows, missing intervals, seeds."""
    texts = []
    if failed:
        texts.append(f"{failed} unit{'s' if failed != 1 else ''} failed; their cells say so. See Failures.")
    texts += omissions(result)
    notes = {result.averages.blocks[b].get("task_note"): result.layout.titles[b] for b in result.blocks}
    texts += [f"{title}: {note}" for note, title in notes.items() if note]
    for section in table.sections:
        if section.heading:
            names = dict.fromkeys(metric_key(column) for column in section.columns)
            texts.append(f"{', '.join(names)}: {section.heading}. Not ranked.")
    texts += [f"No confidence intervals: {'; '.join(reasons)}." for reasons in (without_intervals(result),) if reasons]
    runs = [run for run in result.runs if run.seed is not None]
    if runs and len({run.seed for run in runs}) == 1:
        texts.append("One seed: differences between trained translators may reflect this training run, not the method.")
    return texts


def omissions(result: Result) -> list[str]:
    """Excluded cases, and rows that are out of date."""
    texts = [f"{result.layout.titles[b]}: {t}" for b in result.blocks for t in result.averages.left_out.get(b, ())]
    stale: dict[str, list[str]] = {}
    for r in result.layout.rows:
        if result.averages.rows[r]["currency"]:
            notes = [n for n in result.averages.row_notes.get((r,), ()) if n.startswith("Stale")]
            stale.setdefault("; ".join(notes).partition(": ")[2], []).append(result.layout.labels[r])
    texts += [f"Stale, not ranked: {', '.join(rows)} ({reason})." for reason, rows in stale.items()]
    return [anonymise(text) for text in texts]


def without_intervals(result: Result) -> list[str]:
    """Why scores have no confidence interval: each reason with its metrics and tasks."""
    metrics: dict[str, dict[str, None]] = {}
    tasks: dict[str, dict[int, None]] = {}
    shown, rows = set(result.layout.columns), set(result.layout.rows)
    for (b, r, c), reasons in result.averages.without.items():
        if (b, c) in shown and r in rows and result.averages.rows[r]["role"] == "translator":
            for reason in reasons:
                metrics.setdefault(reason, {})[result.layout.names[c]] = None
                tasks.setdefault(reason, {})[b] = None
    texts = []
    for reason, names in metrics.items():
        titles = ", ".join(result.layout.titles[b] for b in tasks[reason])
        where = "" if len(tasks[reason]) == len(result.blocks) else f" on {titles}"
        texts.append(anonymise(f"{', '.join(names)}{where} ({reason})"))
    return texts


def metric_key(column: TableColumn) -> str:
    """The name of a column in the table's filter: its metric and variant."""
    return f"{column.metric}[{column.variant}]" if column.variant else column.metric


def podiums(table: ResultsTable) -> list[tuple[str, list[Podium], list[str]]]:
    """By task: best, runner-up, floor and ceiling of each ranked column, and sentences on rows above the ceiling."""
    lines: dict[str, list[Podium]] = {}
    above: dict[str, list[str]] = {}
    for section in table.sections:
        for i, column in enumerate(section.columns):
            best, second = (
                [(row.label, row.cells[i].text) for row in section.rows if row.cells[i].rank == rank] for rank in (1, 2)
            )
            if best:
                floor, ceiling = _reference(section, i, "floor"), _reference(section, i, "ceiling")
                ends = [cell.text if cell else "" for cell in (floor, ceiling)]
                lines.setdefault(column.task, []).append(Podium(column, best, second, *ends))
                above.setdefault(column.task, []).extend(_above(section, i, ceiling))
    return [(task, of, _explained(above[task])) for task, of in lines.items()]


def _reference(section: Section, i: int, role: str) -> Cell | None:
    """The score of a reference row in a column: of the first that has one and is not stale."""
    cells = [row.cells[i] for row in section.rows if row.role == role and "(stale)" not in row.label]
    return next((cell for cell in cells if cell.value is not None), None)


def _above(section: Section, i: int, ceiling: Cell | None) -> list[str]:
    """The translators whose score beats the ceiling's."""
    if ceiling is None or ceiling.value is None:
        return []
    column = section.columns[i]
    sign = 1 if column.higher_is_better else -1
    return [
        f"{row.label} on {column.title.rstrip(' ↑↓')} ({row.cells[i].text}, ceiling {ceiling.text})"
        for row in section.rows
        if row.role == "translator"
        and (value := row.cells[i].value) is not None
        and sign * (value - ceiling.value) > 0
        and row.cells[i].text != ceiling.text
    ]


def _explained(rows: Sequence[str]) -> list[str]:
    reason = (
        "The ceiling is the score of real target test images, in general of other patients. It is not a strict bound: "
        "the translated patients may be easier to segment, or a translator may draw regions more clearly than real "
        "images show them."
    )
    return [f"Above the ceiling: {'; '.join(rows)}. {reason}"] if rows else []
