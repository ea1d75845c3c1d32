"""``mtbench checkpoints``: every metric over training, and what it costs to choose by it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from mtbench.analysis.checkpoints import Line, OverTraining, Side, TaskOverTraining, lines, over_training
from mtbench.analysis.numbers import format_number
from mtbench.analysis.regret import regrets
from mtbench.analysis.regrettext import LEGEND, RegretTable, out_of, regret_tables
from mtbench.analysis.select import select
from mtbench.cli.plain import plain_table
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.results.directory import load
from mtbench.screen import Screen, echo, echo_json


@click.command("checkpoints", cls=Verb)
@click.argument("results")
@click.option("-m", "--metric", "columns", multiple=True, help="Metrics to show: NAME or 'NAM*'; repeatable.")
@click.option("-t", "--translator", "rows", multiple=True, help="Translators to include; repeatable.")
@click.option("-d", "--dataset", "datasets", multiple=True, help="Tasks to include; repeatable.")
@click.option("--validation", is_flag=True, help="Show scores on validation patients, not on test patients.")
@click.option("--conditional", is_flag=True, help="Regret: include conditional translators (their Dice is circular).")
@click.option("--csv", "as_csv", is_flag=True, help="Print the scores of every run as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print scores and regrets as JSON.")
def command(
    results: str,
    columns: tuple[str, ...],
    validation: bool,
    conditional: bool,
    as_csv: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """Show every metric in RESULTS over training, and its regret when it chooses the checkpoint.

    RESULTS is the results directory of a suite with `keep` beside a translator that trains.

    Examples:
        mtbench checkpoints mtbench-results/mine
        mtbench checkpoints mtbench-results/mine --csv
    """
    if as_csv and as_json:
        raise RequestError("--csv and --json are two formats", expected="one of them")
    found = over_training(load(results), **selection)
    if as_csv:
        echo(_csv(found), nl=False)
        return
    if as_json:
        echo_json(as_record(found, conditional=conditional), readable=True)
        return
    console = Screen()
    side: Side = "validation" if validation else "test"
    for task in found.tasks:
        names = [{column.metric, column.name} for column in task.columns]
        shown = select(columns, range(len(task.columns)), names, "metric")
        console.print(_scores(task, side, shown))
        chosen_by = {task.columns[number].name for number in shown}
        for regret_table in regret_tables(task, conditional=conditional, metrics=chosen_by):
            console.print(_regrets(regret_table))
    for remark in (*found.remarks, *_circular(found, conditional), *LEGEND):
        console.print(Text(remark, style="dim"))


def _circular(found: OverTraining, conditional: bool) -> list[str]:
    names = dict.fromkeys(run.model for task in found.tasks for run in task.runs if run.conditional)
    return (
        [f"No regret for {', '.join(names)}: conditional (--conditional includes them)."]
        if names and not conditional
        else []
    )


def as_record(found: OverTraining, *, conditional: bool = False) -> dict[str, object]:
    """Scores and regrets as JSON holds them."""
    return {
        "scores": _records(found),
        "regrets": [asdict(regret) for task in found.tasks for regret in regrets(task, conditional=conditional)],
        "remarks": [*found.remarks, *_circular(found, conditional), *LEGEND],
    }


def _records(found: OverTraining) -> list[dict[str, object]]:
    return [
        {
            "task": task.title,
            "translator": run.model,
            "seed": run.seed,
            "fold": run.fold,
            "checkpoint": f"1/{part}" if part > 1 else "final",
            "step": task.steps.get((run, part)),
            "scored_on": side,
            "metric": task.columns[number].name,
            "higher_is_better": task.columns[number].higher_is_better,
            "value": value,
        }
        for task in found.tasks
        for (run, part, side, number), value in task.values.items()
    ]


def _csv(found: OverTraining) -> str:
    records, file = _records(found), io.StringIO()
    writer = csv.DictWriter(file, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def _scores(task: TaskOverTraining, side: Side, shown: Sequence[int]) -> Table:
    table = plain_table(f"{task.title}: scores on {side} patients over training")
    table.add_column("translator")
    for head in ("checkpoint", "step"):
        table.add_column(head, justify="right", no_wrap=True)
    for number in shown:
        column = task.columns[number]
        unit = f" ({column.measure_unit})" if column.measure_unit else ""
        table.add_column(Text(f"{column.name}{unit} {'↑' if column.higher_is_better else '↓'}"), justify="right")
    model = ""
    for line in lines(task, side):
        cells = [_cell(line, number, task.columns[number].decimals) for number in shown]
        part = f"1/{line.part}" if line.part > 1 else "final"
        name = Text(line.model if line.model != model else "")
        table.add_row(name, part, "–" if line.step is None else str(line.step), *cells)
        model = line.model
    return table


def _cell(line: Line, number: int, decimals: int | None) -> str:
    value = line.values[number]
    if value is None:
        return "–"
    return format_number(value[0], decimals) + out_of(value[1], line.runs)


def _regrets(of: RegretTable) -> Table:
    table = plain_table(of.title)
    table.add_column(of.headings[0])
    for choice in of.headings[1:]:
        table.add_column(choice, justify="right", no_wrap=True)
    for name, *cells in of.lines:
        table.add_row(Text(name), *cells)
    return table
