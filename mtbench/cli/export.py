"""``mtbench export``: results as a table for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtbench.analysis.table import build_table
from mtbench.cli.options import name_and_value, plugin_options
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.integers import MOST_DECIMALS
from mtbench.registry.discovery import discover
from mtbench.registry.specs import ExporterSpec
from mtbench.results.directory import load
from mtbench.screen import echo

if TYPE_CHECKING:
    from mtbench.registry.registry import Registry


@click.command("export", cls=Verb)
@click.argument("results")
@click.option(
    "-f",
    "--format",
    "format_",
    metavar="NAME[:p=v,...]",
    help="Output format; `mtbench plugins` lists them (default: by the extension of -o).",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Output file (default: standard output)."
)
@click.option(
    "--rule",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="'paper' also ranks conditional translators, as in Table 1 of the MIDL 2024 paper.",
)
@click.option(
    "-m", "--metric", "columns", multiple=True, help="Metrics to show: NAME, 'NAME[VARIANT]' or 'NAM*'; repeatable."
)
@click.option(
    "-t",
    "--translator",
    "rows",
    multiple=True,
    help="Rows to show: a translator, truth, ceiling, floor or oracle; repeatable.",
)
@click.option("-d", "--dataset", "datasets", multiple=True, help="Tasks to show; repeatable.")
@click.option(
    "--spread",
    type=click.Choice(["none", "interval", "bound", "std"]),
    default="none",
    help="Print after each score its 95 % confidence interval (by patient), distribution-free 95 % limits, or the "
    "standard deviation over seeds.",
)
@click.option("--decimals", multiple=True, help="Decimal places: 3 for all metrics, or METRIC=1 for one; repeatable.")
@click.option("--transposed", is_flag=True, help="One column per translator.")
@click.option("--ranks", is_flag=True, help="Print the rank after each score.")
@click.option(
    "--significant",
    is_flag=True,
    help="Bold the best only if it significantly beats every other method (paired sign-flip test by patient).",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="NAME=PRINTED",
    help="Print another name for a translator, metric or dataset; repeatable.",
)
@click.option("--title", default="", help="Caption of the table.")
@plugin_options
def command(
    results: str,
    format_: str | None,
    output: Path | None,
    decimals: tuple[str, ...],
    rename: tuple[str, ...],
    significant: bool,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
    **options: Any,
) -> None:
    """Write the results table of RESULTS, a results directory or published:midl2024.

    In each column, the best is bold and the runner-up underlined. Conditional translators are marked with a dagger
    and not ranked.

    Examples:
        mtbench export mtbench-results/mine --format md
        mtbench export mtbench-results/mine -o table.tex --spread interval --decimals 3
        mtbench export published:midl2024 --rule paper
    """
    registry = discover(plugin_files, third_party=not no_plugins)
    exporter, params = registry.call(ExporterSpec, format_ or _format_of(output, registry))
    arguments = exporter.complete(params)
    table = build_table(
        load(results),
        decimals=_decimals(decimals),
        rename=dict(name_and_value(p) for p in rename),
        significant=significant,
        cases=load(results, "cases") if significant else None,
        **options,
    )
    if not table.sections:
        raise RequestError(
            "these results have no scores to show", where=results, remedy="Run a suite with `mtbench run` first"
        )
    text = exporter.create(arguments).export(table)
    if output is None:
        echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RequestError(f"the table cannot be written: {error.strerror}", where=str(output)) from error
    echo(f"wrote {output}", err=True)


def _format_of(output: Path | None, registry: Registry) -> str:
    """The format for the file name extension of ``output``; the default format without a file."""
    if output is None:
        return registry.default(ExporterSpec)
    endings = {registry.get(ExporterSpec, name).spec.ending: name for name in registry.names("exporter")}
    if output.suffix not in endings:
        raise RequestError(
            f"no output format for the file name '{output.name}'",
            expected="one of " + ", ".join(endings),
            remedy="Rename the file, or choose a format with --format",
        )
    return endings[output.suffix]


def _decimals(values: tuple[str, ...]) -> int | dict[str, int] | None:
    """``("3",)`` becomes 3, ``("a=1", "b=4")`` a mapping."""
    if not values:
        return None
    try:
        if len(values) == 1 and "=" not in values[0]:
            return _digits(values[0])
        return {name: _digits(number) for name, number in map(name_and_value, values)}
    except ValueError:
        raise RequestError(
            f"--decimals {' '.join(values)} is not valid",
            expected=f"a number from 0 to {MOST_DECIMALS}, or metric=number",
        ) from None


def _digits(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MOST_DECIMALS:
        raise ValueError(text)
    return number
