"""``mtbench report``: everything about a result on one page, or one figure of it."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.cli.options import name_and_value
from mtbench.errors import RequestError
from mtbench.report import write_figure, write_report
from mtbench.screen import echo


@click.command("report")
@click.argument("results")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where it goes; report.html in the results directory where nothing is said.",
)
@click.option(
    "--figure",
    type=click.Choice(["examples", "correlation", "table"]),
    help="In place of the page, one figure for a paper: PNG, SVG or PDF by the ending of -o.",
)
@click.option("--store", metavar="DIR", help="Where images are (default: MTBENCH_STORE or the cache folder).")
@click.option("-d", "--dataset", "datasets", multiple=True, help="Show this task; may be repeated.")
@click.option("-t", "--translator", "rows", multiple=True, help="Show this row; also ceiling, floor, oracle.")
@click.option("-m", "--metric", "columns", multiple=True, help="Show this metric: NAME, 'NAME[VARIANT]' or 'NAM*'.")
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="SLICE",
    help="Show this slice: worst, median or best by Dice, or an id; may be repeated.",
)
@click.option(
    "--rule",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="'paper' ranks and correlates as the MIDL 2024 paper does.",
)
@click.option(
    "--rename", multiple=True, metavar="NAME=PRINTED", help="Print a translator, metric or dataset otherwise."
)
@click.option("--title", default="", help="The heading.")
@click.option("--with-provenance", is_flag=True, help="Show host names, folders and logs, too.")
def command(results: str, output: Path | None, figure: str | None, rename: tuple[str, ...], **options: object) -> None:
    """Write RESULTS as one HTML page that stands alone: a results directory, or published:midl2024.

    Tables, the same slices through every translator, correlations, values by case, training curves, cost, failures
    and provenance. The page opens from disk and loads nothing.
    """
    names = dict(name_and_value(text) for text in rename)
    if figure is not None:
        if output is None:
            raise RequestError("a figure needs a file", remedy=f"Say -o {figure}.png (or .svg, .pdf)")
        missing_letters = write_figure(figure, results, output, rename=names, **options)  # type: ignore[arg-type]
        echo(f"wrote {output}", err=True)
        if missing_letters:
            echo(f"no installed font has the letters {missing_letters}: install one, or say --rename", err=True)
        return
    page = write_report(results, output, rename=names, **options)  # type: ignore[arg-type]
    echo(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB)", err=True)
