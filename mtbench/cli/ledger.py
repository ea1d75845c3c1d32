"""``mtbench ledger``: the structures that each translation added, lost, moved or resized."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from mtbench.analysis.numbers import format_number
from mtbench.cli.plain import plain_table
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError, close_matches
from mtbench.ledger import KINDS, Rules
from mtbench.report import find_ledger
from mtbench.report.changes import Change, TaskLedger
from mtbench.report.ledgertext import LEGEND, records, summaries
from mtbench.screen import Screen, echo, echo_json


@click.command("ledger", cls=Verb)
@click.argument("results")
@click.option(
    "-t", "--translator", "rows", multiple=True, help="Rows to show: a translator, truth or oracle; repeatable."
)
@click.option("-d", "--dataset", "datasets", multiple=True, help="Tasks to show; repeatable.")
@click.option("--region", "regions", multiple=True, help="Regions to show; repeatable.")
@click.option("--change", "kinds", multiple=True, type=click.Choice(KINDS), help="Changes to show; repeatable.")
@click.option(
    "--smallest",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="MM",
    help="Omit changes of a smaller diameter (in pixels if the spacing is unknown).",
)
@click.option("--store", metavar="DIR", help="Store of the images (default: MTBENCH_STORE or the cache folder).")
@click.option("--limit", type=click.IntRange(min=0), default=20, help="Changes printed for each task (default: 20).")
@click.option("--csv", "as_csv", is_flag=True, help="Print all changes as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print all changes and numbers by row as JSON.")
def command(
    results: str,
    rows: tuple[str, ...],
    regions: tuple[str, ...],
    kinds: tuple[str, ...],
    smallest: float,
    limit: int,
    as_csv: bool,
    as_json: bool,
    **selection: Any,
) -> None:
    """List structures that each translation in RESULTS added, lost, moved or resized.

    It compares the stored segmentations of the translations with the source's masks. Each change also shows
    whether the segmenter errs in the same place on the true target image (row truth) and on the source (row oracle).

    Examples:
        mtbench ledger mtbench-results/mine
        mtbench ledger mtbench-results/mine --change added --csv
    """
    if as_csv and as_json:
        raise RequestError("--csv and --json are two formats", expected="one of them")
    found = find_ledger(results, Rules(smallest=smallest), **selection)
    ledgers = [_select(ledger, rows, regions, kinds) for ledger in found]
    if as_csv:
        echo(_csv(ledgers), nl=False)
        return
    if as_json:
        echo_json(_as_json(ledgers), readable=True)
        return
    console = Screen()
    for ledger in ledgers:
        if ledger.problem:
            console.print(Text(f"{ledger.title}: {ledger.problem}"))
            continue
        console.print(_numbers(ledger))
        console.print(_worst(ledger, limit))
        for text in ledger.unknown:
            console.print(Text(f"Not compared: {text}.", style="dim"))
    for remark in LEGEND:
        console.print(Text(remark, style="dim"))


def _select(ledger: TaskLedger, rows: Sequence[str], regions: Sequence[str], kinds: Sequence[str]) -> TaskLedger:
    """The changes of some rows, regions and kinds. Truth and oracle stay beside each of them."""
    if ledger.problem:
        return ledger
    sides = ledger.sides
    _check("row", rows, {name for side in sides for name in (side.row, side.role) if name != "translator"})
    _check("region", regions, {name for side in sides for name in side.unit.task.regions})
    return replace(
        ledger,
        sides=tuple(side for side in sides if not rows or {side.row, side.role} & set(rows)),
        changes=tuple(
            change
            for change in ledger.changes
            if (not rows or {change.row, change.role} & set(rows))
            and (not regions or change.item.region in regions)
            and (not kinds or change.item.kind in kinds)
        ),
    )


def _check(what: str, names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            expected = "one of " + ", ".join(sorted(known))
            raise RequestError(
                f"unknown {what} '{name}'", matches=close_matches(name, sorted(known)), expected=expected
            )


def _csv(ledgers: Sequence[TaskLedger]) -> str:
    lines = [record for ledger in ledgers for record in records(ledger)]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _as_json(ledgers: Sequence[TaskLedger]) -> dict[str, object]:
    return {
        "tasks": [
            {
                "task": ledger.title,
                "segmenter": ledger.segmenter,
                "problem": ledger.problem,
                "not_compared": list(ledger.unknown),
                "rows": [
                    {**asdict(of), "counts": dict(zip(KINDS, of.counts, strict=True))} for of in summaries(ledger)
                ],
                "changes": records(ledger),
            }
            for ledger in ledgers
        ],
        "remarks": list(LEGEND),
    }


def _numbers(ledger: TaskLedger) -> Table:
    rows = summaries(ledger)
    unit = next((f" ({row.unit})" for row in rows if row.unit), "")
    table = plain_table(f"{ledger.title}: changes of labels (segmenter {ledger.segmenter})")
    table.add_column("row")
    for head in ("volumes", *KINDS, f"added{unit}", f"removed{unit}"):
        table.add_column(head, justify="right")
    for row in rows:
        sizes = ("–" if size is None else format_number(size) for size in (row.added, row.removed))
        table.add_row(Text(row.row), str(row.volumes), *map(str, row.counts), *sizes)
    return table


def _worst(ledger: TaskLedger, limit: int) -> Table:
    translated = [change for change in ledger.changes if change.role == "translator"]
    table = plain_table(f"{min(limit, len(translated))} of {len(translated)} changes by translators, worst first")
    for head in ("translator", "patient", "region", "change"):
        table.add_column(head)
    for head in ("size", "slice", "row, column", "on truth", "in oracle"):
        table.add_column(Text(head), justify="right", min_width=9 if head == "size" else None)
    for change in translated[:limit]:
        table.add_row(*_cells(change))
    return table


def _cells(change: Change) -> list[Text]:
    item, (_, row, column) = change.item, change.item.shown.place
    shares = ("–" if share is None else f"{share:.0%}" for share in (change.truth, change.oracle))
    cells = [change.row, change.patient, item.region, item.kind, f"{format_number(item.changed)} {item.size_unit}"]
    return [Text(cell) for cell in (*cells, str(change.index), f"{row:.0f}, {column:.0f}", *shares)]
