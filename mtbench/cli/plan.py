"""``mtbench plan``: the matrix of a suite: what is cached, what will be computed, and what is skipped and why."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import click
from rich.cells import cell_len
from rich.markup import escape, render
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from mtbench.cli.options import plugin_options, suite_options
from mtbench.cli.verb import Verb
from mtbench.engine.amounts import duration, size
from mtbench.engine.maker import states
from mtbench.engine.outlook import outlook
from mtbench.plan.request import PlanRequest
from mtbench.plan.suite import PROTOCOLS
from mtbench.registry.params import format_call
from mtbench.screen import Screen, echo, echo_json
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtbench.engine.outlook import Outlook
    from mtbench.plan import Plan, Row

_LONG = 200
_MARK = {"cached": "[green]●[/]", "to do": "○", "pending": "[yellow]◌[/]", "skipped": "[dim]–[/]"}


@click.command(cls=Verb)
@click.argument("suite")
@suite_options
@click.option("--units", is_flag=True, help="List every unit instead of the matrix.")
@click.option("--json", "as_json", is_flag=True, help="Print units and rows as JSON.")
@plugin_options
def command(suite: str, units: bool, as_json: bool, **options: Any) -> None:
    """Show what a run of SUITE would compute, without loading models or images.

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
    ahead = outlook(plan, registry, store, status)
    if as_json:
        echo_json(_as_json(plan, status, ahead))
        return
    console = Screen()
    _matrix(plan, status, console)
    if units:
        for unit in plan.units.values():
            console.print(f"{_MARK[status[unit.key]]} {escape(unit.name)}  [dim]{unit.key[:12]}[/]", highlight=False)
    counts = Counter(status.values())
    console.print(
        f"\n{len(plan.units)} units: {counts['cached']} cached, {counts['to do']} to do, "
        f"{counts['pending']} pending (their inputs are not computed yet). {len(plan.rows)} rows.",
        highlight=False,
    )
    for reason, count in Counter(row.skipped for row in plan.rows if row.skipped).items():
        console.print(f"skipped: {count} row{'s' if count > 1 else ''}: {reason}", highlight=False, markup=False)
    for line in _ahead(ahead, store):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _ahead(ahead: Outlook, store: Store) -> Iterator[str]:
    """The expected time and disk space, in lines."""
    for load in ahead.loads:
        seconds = (
            "time unknown (no earlier run computed such a unit)" if load.seconds is None else duration(load.seconds)
        )
        yield f"to compute: {load.units} {f'{load.stage} {load.plugin}'.strip()}: {seconds}"
    if ahead.loads:
        place = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
        rest = f" (without {ahead.unknown} units of unknown time)" if ahead.unknown else ""
        yield (
            f"total: {duration(ahead.seconds)}, one unit at a time, estimated from earlier runs in this store{rest}; "
            f"{size(ahead.bytes)} of disk space, {size(shutil.disk_usage(place).free)} free at {place}"
        )
    for problem in ahead.problems:
        yield f"problem: {problem}"


def _as_json(plan: Plan, status: dict[str, str], ahead: Outlook) -> dict[str, Any]:
    return {
        "suite": plan.suite.name,
        "problems": list(ahead.problems),
        "to_come": [asdict(load) for load in ahead.loads],
        "bytes": ahead.bytes,
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
        f"{_MARK['cached']} cached   {_MARK['to do']} to do   {_MARK['pending']} waiting for other units   "
        f"{_MARK['skipped']} skipped",
        highlight=False,
    )
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in plan.rows:
        parts.setdefault(tuple(row.columns[k] for k in ("dataset", "fold", "protocol")), []).append(row)
    protocols = plan.suite.protocols
    for (dataset, fold, protocol), rows in parts.items():
        first = rows[0].columns
        title = f"{dataset}: {first['source_domain']} → {first['target_domain']}" + (
            f", fold {fold}" if fold is not None else ""
        )
        if protocols != PROTOCOLS[:1]:
            title += f", {protocol}"
        cells_of: dict[str, dict[str, str]] = {}
        for row in rows:
            cells_of.setdefault(_subject(row), {})[_column(row)] = _state(row, status)
        names = list(dict.fromkeys(name for cells in cells_of.values() for name in cells))
        console.print()
        (_print_long if len(cells_of) > _LONG else _print_table)(title, names, cells_of, console)


def _print_table(title: str, names: list[str], cells_of: dict[str, dict[str, str]], console: Screen) -> None:
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for name in names:
        table.add_column(escape(name), justify="center", overflow="fold")
    for subject, cells in cells_of.items():
        table.add_row(escape(subject), *(_MARK[cells[name]] if name in cells else "" for name in names))
    console.print(table)


def _print_long(title: str, names: list[str], cells_of: dict[str, dict[str, str]], console: Screen) -> None:
    """The matrix as plain lines: rich takes a millisecond per line, too slow for thousands."""
    first = max(cell_len(subject) for subject in cells_of)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(Text(" " * (first + 2) + "  ".join(names)), soft_wrap=True)
    marks = {state: render(mark) for state, mark in _MARK.items()}
    signs = {
        state: Segment(mark.plain, console.get_style(str(mark.spans[0].style)) if mark.spans else None)
        for state, mark in marks.items()
    }
    segments = []
    for subject, cells in cells_of.items():
        gap = first + 2 - cell_len(subject)
        segments.append(Segment(subject))
        for name in names:
            left, right = divmod(cell_len(name) - 1, 2)
            if name in cells:
                segments += Segment(" " * (gap + left)), signs[cells[name]]
                gap = 0
            else:
                gap += left + 1
            gap += left + right + 2
        segments.append(Segment.line())
    console.print(Segments(segments), soft_wrap=True, end="")


def _column(row: Row) -> str:
    columns = row.columns
    name = columns["title"] + (f"[{columns['variant']}]" if columns["variant"] else "")
    return str(name + (f" {columns['segmenter']}" if columns["segmenter"] else ""))


def _subject(row: Row) -> str:
    columns = row.columns
    if columns["role"] != "translator":
        return str(columns["role"])
    text = _call(str(columns["translator"]), columns["translator_params"])
    if columns["seed"] is not None:
        text += f" seed {columns['seed']}"
    text += f" at {columns['checkpoint']}" if "checkpoint" in columns else ""
    text += f", {columns['scored_on']}" if "scored_on" in columns else ""
    return text + ("†" if columns["conditional"] else "")


@cache
def _call(translator: str, params: str) -> str:
    return format_call(translator, json.loads(params))
