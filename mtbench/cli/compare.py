"""``mtbench compare``: compare two results cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from mtbench.analysis.compare import NOT_COMPARABLE, compare
from mtbench.analysis.nemenyi import ENOUGH_TASKS, FEWEST_METHODS
from mtbench.analysis.numbers import format_p
from mtbench.cli.plain import plain_table
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.registry.params import format_call
from mtbench.results.directory import load
from mtbench.screen import Screen, echo, echo_json

if TYPE_CHECKING:
    from mtbench.analysis.compare import AverageRank, CellComparison
    from mtbench.analysis.nemenyi import CriticalDifference


@click.command("compare", cls=Verb)
@click.argument("a")
@click.argument("b")
@click.option(
    "--rule",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="'paper' also ranks conditional translators.",
)
@click.option("-m", "--metric", "columns", multiple=True, help="Metrics to compare; repeatable.")
@click.option("-t", "--translator", "rows", multiple=True, help="Translators to compare; repeatable.")
@click.option("-d", "--dataset", "datasets", multiple=True, help="Tasks to compare; repeatable.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw a critical-difference diagram; the extension selects PNG, SVG or PDF.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(a: str, b: str, output: Path | None, as_json: bool, **options: Any) -> None:
    """Compare results A and B cell by cell. Each is a results directory or published:midl2024.

    Differences are shown for cells that agree in data, split and metric settings; ranks are shown for all.

    Examples:
        mtbench compare mtbench-results/mine published:midl2024
        mtbench compare a b --metric dice -o ranks.pdf
    """
    comparison = compare(load(a), load(b), load(a, "cases"), load(b, "cases"), **options)
    if not comparison.items:
        raise RequestError(
            "the two results share nothing", where=f"{a} and {b}", expected="a common dataset, translator and metric"
        )
    if output is not None:
        _draw(comparison.critical, output)
    if as_json:
        record = {
            "items": [{**asdict(item), "difference": item.difference} for item in comparison.items],
            "average_ranks": [asdict(rank) for rank in comparison.average_ranks],
            "critical_differences": [asdict(critical) for critical in comparison.critical],
            "remarks": list(comparison.remarks),
        }
        echo_json(_strict(record), readable=True)
        return
    console = Screen()
    console.print(Text(f"a: {a}\nb: {b}"))
    for comparable in (True, False):
        items = [item for item in comparison.items if item.comparable == comparable]
        if items and not comparable:
            head = f"\n{NOT_COMPARABLE[0].upper()}{NOT_COMPARABLE[1:]}: only ranks are compared"
            console.print(Text(head, style="yellow"))
        for task, metric in dict.fromkeys((item.task, item.metric) for item in items):
            rows = [item for item in items if (item.task, item.metric) == (task, metric)]
            console.print(_table(f"{task} · {metric} {'↑' if rows[0].higher_is_better else '↓'}", rows, comparable))
            if not comparable:
                console.print(Text(_obstacles(rows[0]), style="dim"))
    if comparison.average_ranks:
        console.print(_average_ranks(comparison.average_ranks))
    for critical in comparison.critical:
        for line in _critical(critical):
            console.print(Text(line))
    for remark in comparison.remarks:
        console.print(Text(remark, style="dim"))


def _draw(differences: Sequence[CriticalDifference], path: Path) -> None:
    from mtbench.report.criticaldifference import draw

    if not differences:
        raise RequestError(
            "the critical-difference diagram cannot be drawn",
            expected=f"a metric with at least {FEWEST_METHODS} methods, ranked on at least {ENOUGH_TASKS} common tasks",
        )
    draw(differences, path)
    echo(f"wrote {path}", err=True)


def _critical(ranks: CriticalDifference) -> list[str]:
    """A critical-difference diagram as text."""
    places = ", ".join(f"{name} {rank:.2f}" for name, rank in ranks.ranks.items())
    groups = "; ".join(" = ".join(group) for group in ranks.groups) or "all differ"
    friedman = f"Friedman p {format_p(ranks.friedman_p)}"
    return [
        f"{ranks.metric}, {ranks.side}, mean rank over {ranks.tasks} tasks: {places}",
        f"  {friedman}; critical difference {ranks.difference:.2f} (Nemenyi, 5 %); not distinguishable: {groups}",
    ]


def _obstacles(item: CellComparison) -> str:
    """Why two columns cannot be compared."""
    settings, gaps = [], []
    for key, values in item.differences.items():
        name = key.replace("_", " ")
        if any(value in ("", None, {}) for value in values):
            gaps.append(name)
        elif not key.startswith("translator"):
            settings.append(f"{name} {' / '.join(map(_setting_text, values))}")
    return f"a / b: {'; '.join(settings)}" if settings else f"stated on one side only: {', '.join(gaps)}"


def _setting_text(value: object) -> str:
    if isinstance(value, dict):
        return format_call("", value)[1:-1]
    return str(value)[:12]


def _table(title: str, items: list[CellComparison], comparable: bool) -> Table:
    table = plain_table(title)
    table.add_column("method")
    for head in ("a", "b", *(("b - a", "95 %", "p Holm", "seed sd") if comparable else ()), "rank"):
        table.add_column(head, justify="right", no_wrap=True)
    for item in items:
        cells = [item.text_a, item.text_b]
        if comparable:
            cells += [_difference(item), _interval(item), format_p(item.p_holm), _stds(item)]
        table.add_row(Text(item.translator), *cells, _ranks(item))
    return table


def _average_ranks(ranks: Sequence[AverageRank]) -> Table:
    table = Table(title="Mean rank over tasks", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding, table.header_style = False, True, ""
    table.add_column("metric")
    table.add_column("method")
    for head in ("tasks", "a", "b"):
        table.add_column(head, justify="right", no_wrap=True)
    for rank in ranks:
        table.add_row(Text(rank.metric), Text(rank.translator), str(rank.tasks), f"{rank.a:.2f}", f"{rank.b:.2f}")
    return table


def _difference(item: CellComparison) -> str:
    value = item.difference
    return "–" if value is None else f"{value:+.3g}" + "‡" * item.one_checkpoint


def _interval(item: CellComparison) -> str:
    paired = item.paired
    if paired is None or paired.low is None or paired.high is None:
        return "–"
    return f"{paired.low:+.3g} to {paired.high:+.3g}"


def _stds(item: CellComparison) -> str:
    stds = (item.seed_std_a, item.seed_std_b)
    return "–" if stds == (None, None) else " / ".join("–" if v is None else f"{v:.2g}" for v in stds)


def _ranks(item: CellComparison) -> str:
    if item.rank_a is None or item.rank_b is None:
        return "–"
    change = item.rank_a - item.rank_b
    shift = f" ({'up' if change > 0 else 'down'} {abs(change)})" if change else ""
    return f"{item.rank_a} → {item.rank_b}{shift}"


def _strict(value: object) -> object:
    """The same value, with null for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_strict(entry) for entry in value]
    return None if isinstance(value, float) and value - value != 0 else value
