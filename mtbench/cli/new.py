"""``mtbench new``: write a working plugin to start from."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover
from mtbench.scaffold import KINDS, WRAPS, Project, new
from mtbench.screen import echo


@click.command("new", cls=Verb)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--minimal", is_flag=True, help="Write one file for --plugin instead of a distribution.")
@click.option(
    "--wrap",
    type=click.Choice(WRAPS),
    help="Wrap an existing weight file, program, or folder of translated images as a translator.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Output folder (default: ./NAME; with --minimal the current folder).",
)
def command(kind: str, name: str, minimal: bool, wrap: str | None, folder: Path | None) -> None:
    """Write a plugin NAME of KIND: a small distribution with an example, a test and a CI file.

    It passes `mtbench check` unchanged; replace its networks, files or formulas with your own.

    Examples:
        mtbench new translator mynet
        mtbench new translator mynet --minimal
        mtbench new translator mynet --wrap checkpoint
        mtbench new metric my-metric --folder ~/work/my-metric
    """
    if wrap and kind != "translator":
        raise RequestError(f"--wrap {wrap}", where=f"mtbench new {kind}", expected="a translator")
    if wrap and minimal:
        raise RequestError("--wrap and --minimal", where="mtbench new", expected="one of them")
    project = Project(kind, name, wrap or "", minimal)
    written = new(project, discover(), folder)
    for path in written:
        echo(str(path))
    place = folder or Path(name)
    if minimal:
        echo(f"\nNext: mtbench check {written[0]}")
    elif wrap == "command":
        echo(f"\nNext: mtbench check command:{name} --config {place / 'mtbench.toml'}")
    elif wrap == "folder":
        echo(f"\nNext: put the translated images in {place / 'translated'}, then mtbench run {place / 'suite.toml'}")
    else:
        echo(f"\nNext: pip install --no-build-isolation --no-deps -e {place} && mtbench check {name}")
