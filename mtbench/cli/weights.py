"""``mtbench weights``: the weight files that feature networks and losses need."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mtbench.cli.verb import Verb
from mtbench.compute.weights import add, catalogue, entry, fetch, state
from mtbench.screen import Screen, echo, echo_json
from mtbench.store.folders import weights_folder


@click.group("weights")
def command() -> None:
    """List, download and add weight files."""


@command.command("list", cls=Verb)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_files(as_json: bool) -> None:
    """List the catalogued weight files and check the hashes of the installed ones.

    Examples:
        mtbench weights list
        mtbench weights list --json
    """
    files = catalogue()
    if as_json:
        rows = [
            {
                "name": file.name,
                "state": state(file),
                "path": str(file.path),
                "bytes": file.size,
                "sha256": file.sha256,
                "licence": file.licence,
                "urls": list(file.urls),
                "description": file.description,
            }
            for file in files.values()
        ]
        echo_json(rows)
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    for header in ("state", "size", "licence"):
        table.add_column(header, overflow="fold")
    for file in files.values():
        condition = state(file)
        colour = {"ready": "green", "missing": "yellow"}.get(condition, "red")
        size = f"{file.size / 1e6:.0f} MB" if file.size else ""
        table.add_row(f"[bold]{escape(file.name)}[/]", f"[{colour}]{condition}[/]", size, escape(file.licence))
    console = Screen()
    console.print(table)
    console.print(f"folder: {weights_folder()}", markup=False, highlight=False, soft_wrap=True)


@command.command("fetch", cls=Verb)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--max-size",
    type=click.IntRange(1, 10**9),
    metavar="MB",
    default=2000,
    show_default=True,
    help="Largest download to accept if the catalogue states no size.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1, 10**7),
    metavar="SECONDS",
    default=3600,
    show_default=True,
    help="Time limit of one download from one address.",
)
def fetch_files(names: tuple[str, ...], max_size: int, timeout: int) -> None:
    """Download weight files; interrupted downloads resume.

    Examples:
        mtbench weights fetch inception-fid
        mtbench weights fetch inception-fid vgg19-imagenet
    """
    for name in names:
        entry(name)
    console = Screen(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    for name in names:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(escape(name), total=entry(name).size)

            def show(done: int, total: int | None, bar: Progress = bar, task: object = task) -> None:
                bar.update(task, completed=done, total=total)  # type: ignore[arg-type]

            path = fetch(name, show, ceiling=max_size * 1_000_000, seconds=timeout)
        echo(f"{name}: {path}")


@command.command("add", cls=Verb)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Catalogue name of the file (default: recognised by its hash).")
def add_file(file: Path, name: str | None) -> None:
    """Check the hash of FILE, downloaded elsewhere, and install it.

    Examples:
        mtbench weights add ~/Downloads/vgg19-dcbb9e9d.pth
        mtbench weights add weights.pth --name vgg19-imagenet
    """
    weight_file = add(file, name)
    echo(f"{weight_file.name}: {weight_file.path}")
