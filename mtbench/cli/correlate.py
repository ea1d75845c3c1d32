"""``mtbench correlate``: correlate perceptual metrics with segmentation metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from mtbench.analysis.correlation import correlate
from mtbench.analysis.endpoints import read_endpoints
from mtbench.analysis.numbers import format_coefficient, format_p
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.results.directory import load
from mtbench.screen import Screen, echo, echo_json

if TYPE_CHECKING:
    from mtbench.analysis.correlation import Correlation, Correlations


@click.command("correlate", cls=Verb)
@click.argument("results")
@click.option(
    "--rule",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="'paper' reports absolute Pearson correlation over all rows, as in Figure 2 of the MIDL 2024 paper.",
)
@click.option("--conditional", is_flag=True, help="Include conditional translators (their Dice is circular).")
@click.option("-t", "--translator", "rows", multiple=True, help="Translators to include; repeatable.")
@click.option("-x", "--without", multiple=True, metavar="NAME", help="Translators to exclude; repeatable.")
@click.option("-d", "--dataset", "datasets", multiple=True, help="Tasks to include; repeatable.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Correlate with the columns of this table (reader ratings, dose) instead of with segmentation metrics. It has "
    "a column 'translator' and may have 'dataset' and 'case'.",
)
@click.option("--lower", multiple=True, metavar="COLUMN", help="Columns of --against in which lower is better.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option(
    "--heatmap",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also draw a heat map of tasks with at least 5 translators; the extension selects PNG, SVG or PDF.",
)
def command(
    results: str, as_json: bool, heatmap: Path | None, against: Path | None, lower: tuple[str, ...], **options: Any
) -> None:
    """Correlate each metric in RESULTS with each segmentation metric or endpoint, separately for each task.

    RESULTS is a results directory or published:midl2024. Each translator is one point, averaged over seeds and folds.
    p-values are from permutation tests over translators, with Holm's correction.

    Examples:
        mtbench correlate mtbench-results/mine
        mtbench correlate published:midl2024 --rule paper --heatmap figure2.pdf
        mtbench correlate mtbench-results/mine --against ratings.csv --lower dose_error
    """
    if lower and against is None:
        raise RequestError("--lower names columns of --against, which is missing", remedy="Set --against FILE.csv")
    endpoints = read_endpoints(against, lower) if against else None
    correlations = correlate(load(results), against=endpoints, **options)
    if not correlations.items:
        raise RequestError(
            "these results have nothing to correlate",
            where=results,
            expected="scores of at least one segmentation metric and one other metric on the same task",
            remedy="Give other endpoints with --against FILE.csv" if against is None else None,
        )
    if as_json:
        echo_json(as_record(correlations), readable=True)
    else:
        _print(correlations)
    if heatmap is not None:
        from mtbench.report.heatmap import draw

        draw(correlations, heatmap)
        echo(f"wrote {heatmap}", err=True)


def _print(correlations: Correlations) -> None:
    console = Screen()
    for task in dict.fromkeys(item.task for item in correlations.items):
        console.print(
            _table(task, [item for item in correlations.items if item.task == task], correlations.rule == "paper")
        )
    for remark in (LEGEND, *correlations.remarks):
        console.print(Text(remark, style="dim"))


def as_record(correlations: Correlations) -> dict[str, object]:
    """The correlations as written to JSON."""
    return {
        "rule": correlations.rule,
        "remarks": list(correlations.remarks),
        "correlations": [
            {
                "task": item.task,
                "dataset": item.dataset,
                "metric": item.metric,
                "against": item.against,
                "n": item.n,
                "translators": list(item.translators),
                "descriptive_only": item.descriptive,
                "caveat": item.caveat,
                "undefined": item.undefined,
                **{
                    method: {
                        "value": e.value,
                        "absolute": None if e.value is None else abs(e.value),
                        "agreement": e.agreement,
                        "p": e.p,
                        "p_holm": e.p_holm,
                        "left_out": None if e.left_out is None else dict(e.left_out),
                    }
                    for method, e in item.estimates.items()
                },
            }
            for item in correlations.items
        ],
    }


LEGEND = "r: Pearson; rho: Spearman; tau: Kendall; one left out: the range of r with each translator omitted in turn."


def _table(task: str, items: list[Correlation], absolute: bool) -> Table:
    table = Table(title=Text(task), title_justify="left", title_style="bold", header_style="", box=box.SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True
    table.add_column("metric")
    table.add_column("against")
    for head in ("n", "|r|" if absolute else "r", "one left out"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in () if absolute else ("p", "p Holm", "rho", "tau"):
        table.add_column(head, justify="right", no_wrap=True)
    for item in items:
        r = item.estimates["pearson"]
        figures = [str(item.n), format_coefficient(r.coefficient(absolute), absolute), r.jackknife_range(absolute)]
        if not absolute:
            others = (item.estimates[method].agreement for method in ("spearman", "kendall"))
            figures += [format_p(r.p), format_p(r.p_holm), *(format_coefficient(v, absolute) for v in others)]
        table.add_row(Text(item.metric), Text(item.against), *figures)
    return table
