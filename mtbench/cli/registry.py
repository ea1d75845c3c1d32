"""``mtbench registry``: the catalogue of known plugins, weights, data sets, published results and suites."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.registry.catalogue import SECTIONS, Entry, entries, files, search
from mtbench.registry.catalogue import verify as problems
from mtbench.screen import echo, echo_json


@click.group("registry")
def command() -> None:
    """List, search and verify the catalogue registry.toml. Nothing in it is run."""


@command.command("list", cls=Verb)
@click.argument("section", required=False, type=click.Choice(list(SECTIONS)))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_entries(section: str | None, as_json: bool) -> None:
    """List all entries, or those of one SECTION.

    Examples:
        mtbench registry list
        mtbench registry list weights --json
    """
    _print([entry for entry in entries() if section in (None, entry.section)], as_json)


@command.command("search", cls=Verb)
@click.argument("words", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def search_entries(words: tuple[str, ...], as_json: bool) -> int:
    """List the entries that contain all WORDS. The exit code is 1 if there are none.

    Examples:
        mtbench registry search breast mri
    """
    matches = search(" ".join(words))
    if not matches and not as_json:
        echo(f"no catalogue entry contains: {' '.join(words)}", err=True)
    _print(matches, as_json)
    return 0 if matches else 1


@command.command("verify", cls=Verb)
@click.argument("file", required=False, type=click.Path(path_type=Path))
def verify(file: Path | None) -> int:
    """Check the catalogue, or FILE, against the schema.

    The exit code is 1 if there is a problem.

    Examples:
        mtbench registry verify
        mtbench registry verify registry.toml
    """
    if file is not None and not file.is_file():
        raise RequestError(f"the file {file} does not exist")
    wrong = 0
    for path in [file] if file else files():
        for problem in problems(path):
            echo(f"{path}: {problem}")
            wrong += 1
    echo(f"{wrong} problems" if wrong else "the catalogue is valid", err=True)
    return 1 if wrong else 0


def _print(matches: list[Entry], as_json: bool) -> None:
    if as_json:
        echo_json([{"section": e.section, "name": e.name, **e.values} for e in matches], readable=True)
        return
    last = ""
    for entry in matches:
        if entry.section != last:
            echo(f"{entry.section}:")
            last = entry.section
        echo(f"  {entry.name}: {entry.values.get('description', '')}")
        for key in ("provides", "source", "install", "licence", "access", "needs"):
            if value := entry.values.get(key):
                echo(f"    {key}: {', '.join(value) if isinstance(value, list) else value}")
