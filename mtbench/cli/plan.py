"""``mtbench plan``: the matrix of a suite, what is cached and what is skipped and why."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from rich.cells import cell_len
from rich.markup import escape, render
from rich.table import Table
from rich.text import Text

from mtbench.cli.options import plugin_options, suite_options
from mtbench.cli.verb import Verb
from mtbench.engine.maker import states
from mtbench.plan.request import PlanRequest
from mtbench.plan.suite import PROTOCOLS
from mtbench.registry.params import format_call
from mtbench.screen import Screen, echo, echo_json
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder

if TYPE_CHECKING:
    from mtbench.plan import Plan, Row

_LONG = 200
_MARK = {"cached": "[green]●[/]", "to do": "○", "pending": "[yellow]◌[/]", "skipped": "[dim]–[/]"}


@click.command(cls=Verb)
@click.argument("suite")
@suite_options
@click.option("--units", is_flag=True, help="List every unit, not only the matrix.")
@click.option("--json", "as_json", is_flag=True, help="Print units and rows as JSON.")
@plugin_options
def command(suite: str, units: bool, as_json: bool, **options: Any) -> None:
    """Show what SUITE would run, without loading a model or reading an image.

    Examples:
        mtbench plan mine.toml
        mtbench plan mine.toml --units
        mtbench plan quickstart -t identity -m dice --json
    """
    request = PlanRequest.of(suite, options)
    registry = request.registry()
    store = Store(store_folder(request.store))
    plan = request.plan(registry, partial(echo, err=True))
    status = states(plan, registry, store)
    if as_json:
        echo_json(_as_json(plan, status))
        return
    console = Screen()
    _matrix(plan, status, console)
    if units:
        for unit in plan.units.values():
            console.print(f"{_MARK[status[unit.key]]} {escape(unit.name)}  [dim]{unit.key[:12]}[/]", highlight=False)
    counts = Counter(status.values())
    console.print(
        f"\n{len(plan.units)} units: {counts['cached']} cached, {counts['to do']} to do, "
        f"{counts['pending']} pending (their inputs are not there yet). {len(plan.rows)} rows.",
        highlight=False,
    )
    for reason, count in Counter(row.skipped for row in plan.rows if row.skipped).items():
        console.print(f"skipped: {count} row{'s' if count > 1 else ''}: {reason}", highlight=False, markup=False)


def _as_json(plan: Plan, status: dict[str, str]) -> dict[str, Any]:
    return {
        "suite": plan.suite.name,
        "units": [
            {
                "key": unit.key,
                "stage": unit.stage,
                "name": unit.name,
                "plugin": unit.plugin,
                "params": dict(unit.params),
                "seed": unit.seed,
                "inputs": dict(unit.inputs),
                "state": status[unit.key],
            }
            for unit in plan.units.values()
        ],
        "rows": [
            {**row.columns, "unit_key": row.unit, "state": _state(row, status), "reason": row.skipped}
            for row in plan.rows
        ],
    }


def _state(row: Row, status: dict[str, str]) -> str:
    return "skipped" if row.skipped else status[row.unit]


def _matrix(plan: Plan, status: dict[str, str], console: Any) -> None:
    console.print(
        f"[bold]{escape(plan.suite.name)}[/]  {escape(plan.suite.description)}\n"
        f"{_MARK['cached']} cached   {_MARK['to do']} to do   {_MARK['pending']} waits for other units   "
        f"{_MARK['skipped']} skipped",
        highlight=False,
    )
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in plan.rows:
        parts.setdefault(tuple(row.columns[k] for k in ("dataset", "fold", "protocol")), []).append(row)
    protocols = plan.suite.protocols
    for (dataset, fold, protocol), rows in parts.items():
        names = list(dict.fromkeys(_column(r) for r in rows))
        first = rows[0].columns
        title = f"{dataset}: {first['source_domain']} → {first['target_domain']}" + (
            f", fold {fold}" if fold is not None else ""
        )
        if protocols != PROTOCOLS[:1]:
            title += f", {protocol}"
        table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        table.add_column("")
        for name in names:
            table.add_column(name, justify="center", overflow="fold")
        cells_of: dict[str, dict[str, str]] = {}
        for row in rows:
            cells_of.setdefault(_subject(row), {})[_column(row)] = _MARK[_state(row, status)]
        for subject, cells in cells_of.items():
            table.add_row(subject, *(cells.get(name, "") for name in names))
        console.print()
        if len(cells_of) > _LONG:
            _print_long(title, names, cells_of, console)
        else:
            console.print(table)


def _print_long(title: str, names: list[str], cells_of: dict[str, dict[str, str]], console: Screen) -> None:
    """A matrix of thousands of lines; rich takes a millisecond to lay one of them out."""
    heads = [render(name).plain for name in names]
    first = max(cell_len(render(subject).plain) for subject in cells_of)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(Text(" " * (first + 2) + "  ".join(heads)), soft_wrap=True)
    lines = []
    for subject, cells in cells_of.items():
        line = render(subject)
        line.append(" " * (first + 2 - line.cell_len))
        for name, head in zip(names, heads, strict=True):
            mark = render(cells.get(name, "")) if cells.get(name) else Text(" ")
            left, right = divmod(cell_len(head) - 1, 2)
            line.append(" " * left).append_text(mark).append(" " * (left + right + 2))
        line.rstrip()
        lines.append(line)
    console.print(Text("\n").join(lines), soft_wrap=True)


def _column(row: Row) -> str:
    columns = row.columns
    name = columns["title"] + (f"[{columns['variant']}]" if columns["variant"] else "")
    return escape(name + (f" {columns['segmenter']}" if columns["segmenter"] else ""))


def _subject(row: Row) -> str:
    columns = row.columns
    if columns["role"] != "translator":
        return str(columns["role"])
    text = format_call(str(columns["translator"]), json.loads(columns["translator_params"]))
    if columns["seed"] is not None:
        text += f" seed {columns['seed']}"
    return escape(text + ("†" if columns["conditional"] else ""))
