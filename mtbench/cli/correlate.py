"""``mtbench correlate``: correlate perceptual metrics with segmentation metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from mtbench.analysis.casewise import CaseCorrelations, correlate_cases
from mtbench.analysis.correlation import correlate
from mtbench.analysis.endpoints import read_endpoints
from mtbench.analysis.numbers import format_coefficient, format_p
from mtbench.analysis.ranking import Rule
from mtbench.cli.plain import plain_table
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
@click.option(
    "--per-case",
    is_flag=True,
    help="Correlate over the cases of --against instead of over translators, within each translator.",
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
    results: str,
    as_json: bool,
    heatmap: Path | None,
    against: Path | None,
    lower: tuple[str, ...],
    per_case: bool,
    rule: Rule,
    conditional: bool,
    **selection: Any,
) -> None:
    """Correlate each metric in RESULTS with each segmentation metric or endpoint, separately for each task.

    RESULTS is a results directory or published:midl2024. Each translator is one point, averaged over seeds and folds.
    p-values are from permutation tests over translators, with Holm's correction.

    Examples:
        mtbench correlate mtbench-results/mine
        mtbench correlate published:midl2024 --rule paper --heatmap figure2.pdf
        mtbench correlate mtbench-results/mine --against ratings.csv --lower dose_error
        mtbench correlate mtbench-results/mine --against ratings.csv --per-case
    """
    if lower and against is None:
        raise RequestError("--lower names columns of --against, which is missing", remedy="Set --against FILE.csv")
    endpoints = read_endpoints(against, lower) if against else None
    if per_case:
        if endpoints is None:
            raise RequestError(
                "--per-case needs the cases of --against, which is missing", remedy="Set --against FILE.csv"
            )
        if heatmap or rule != "default":
            raise RequestError("--per-case cannot be combined with --heatmap or --rule", remedy="Remove one of them")
        found = correlate_cases(load(results), load(results, "cases"), endpoints, conditional=conditional, **selection)
        _print_cases(found, results, as_json)
        return
    correlations = correlate(load(results), against=endpoints, rule=rule, conditional=conditional, **selection)
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


def _print_cases(found: CaseCorrelations, results: str, as_json: bool) -> None:
    if not found.items:
        raise RequestError(
            "these results have no per-case values",
            where=results,
            expected="a metric that is a mean over cases (SSIM, Dice)",
        )
    if as_json:
        echo_json(
            {"remarks": list(found.remarks), "correlations": [asdict(item) for item in found.items]}, readable=True
        )
        return
    console = Screen()
    for task in dict.fromkeys(item.task for item in found.items):
        table = _pairs_table(task, ("translators", "cases", "patients", "r within"))
        for item in found.items:
            if item.task == task:
                counts = (str(item.translators), str(item.cases), str(item.patients))
                text = " ".join([format_coefficient(item.agreement, False), *_ends(item.interval)])
                table.add_row(Text(item.metric), Text(item.against), *counts, Text(text))
        console.print(table)
    for remark in found.remarks:
        console.print(Text(remark, style="dim"))


def _ends(interval: tuple[float, float] | None) -> list[str]:
    return [] if interval is None else ["[{}, {}]".format(*(format_coefficient(end, False) for end in interval))]


def _pairs_table(title: str, numbers: Sequence[str]) -> Table:
    table = plain_table(title)
    table.add_column("metric")
    table.add_column("against")
    for head in numbers:
        table.add_column(Text(head), justify="right", no_wrap=True)
    return table


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
    others = () if absolute else ("p", "p Holm", "rho", "tau")
    table = _pairs_table(task, ("n", "|r|" if absolute else "r", "one left out", *others))
    for item in items:
        r = item.estimates["pearson"]
        figures = [str(item.n), format_coefficient(r.coefficient(absolute), absolute), r.jackknife_range(absolute)]
        if not absolute:
            ranks = (item.estimates[method].agreement for method in ("spearman", "kendall"))
            figures += [format_p(r.p), format_p(r.p_holm), *(format_coefficient(v, absolute) for v in ranks)]
        table.add_row(Text(item.metric), Text(item.against), *figures)
    return table
