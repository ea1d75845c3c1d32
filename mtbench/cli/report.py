"""``mtbench report``: an HTML page about a result, or one figure."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.cli.options import name_and_value
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.report import write_figure, write_report
from mtbench.screen import echo


@click.command("report", cls=Verb)
@click.argument("results")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Output file (default: RESULTS/report.html).",
)
@click.option(
    "--figure",
    type=click.Choice(["examples", "correlation", "table"]),
    help="Draw one figure for a paper instead of the page; the extension of -o selects PNG, SVG or PDF.",
)
@click.option("--store", metavar="DIR", help="Store of the images (default: MTBENCH_STORE or the cache folder).")
@click.option("-d", "--dataset", "datasets", multiple=True, help="Tasks to show; repeatable.")
@click.option(
    "-t",
    "--translator",
    "rows",
    multiple=True,
    help="Rows to show: a translator, truth, ceiling, floor or oracle; repeatable.",
)
@click.option(
    "-m", "--metric", "columns", multiple=True, help="Metrics to show: NAME, 'NAME[VARIANT]' or 'NAM*'; repeatable."
)
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="SLICE",
    help="Slices to show: worst, median or best by Dice, or a slice id; repeatable.",
)
@click.option(
    "--rule",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="'paper' ranks and correlates as in the MIDL 2024 paper.",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="NAME=PRINTED",
    help="Print another name for a translator, metric or dataset; repeatable.",
)
@click.option("--title", default="", help="Title of the page.")
@click.option("--with-provenance", is_flag=True, help="Include host names, folders and logs.")
def command(results: str, output: Path | None, figure: str | None, rename: tuple[str, ...], **options: object) -> None:
    """Write an HTML report of RESULTS, a results directory or published:midl2024.

    The page shows tables, example slices, correlations, values by case, training curves, cost, failures and
    provenance. It is one file that works offline.

    Examples:
        mtbench report mtbench-results/mine
        mtbench report mtbench-results/mine --figure table -o table.png
    """
    names = dict(name_and_value(text) for text in rename)
    if figure is not None:
        if output is None:
            raise RequestError("--figure needs an output file", remedy=f"Use -o {figure}.png (or .svg, .pdf)")
        missing_letters = write_figure(figure, results, output, rename=names, **options)  # type: ignore[arg-type]
        echo(f"wrote {output}", err=True)
        if missing_letters:
            echo(
                f"warning: no installed font has the letters {missing_letters}. Install one, or use --rename", err=True
            )
        return
    page = write_report(results, output, rename=names, **options)  # type: ignore[arg-type]
    echo(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB)", err=True)
