"""``mtbench plugins``: the installed plugins, their origin and their problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from mtbench.cli.options import plugin_options
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError, close_matches
from mtbench.registry.basespec import Spec
from mtbench.registry.discovery import discover
from mtbench.registry.plugin import OWN_DISTRIBUTION
from mtbench.registry.specs import KINDS
from mtbench.results.bibliography import bibtex
from mtbench.screen import Screen, echo, echo_json

if TYPE_CHECKING:
    from mtbench.registry.plugin import Plugin
    from mtbench.registry.registry import Registry


@click.command(cls=Verb)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--bibtex", "as_bibtex", is_flag=True, help="With NAME: print how to cite it, as BibTeX.")
@plugin_options
def command(name: str | None, as_json: bool, as_bibtex: bool, plugin_files: tuple[str, ...], no_plugins: bool) -> int:
    """List plugins by kind, or show NAME and its parameters.

    The exit code is 1 if a plugin was rejected.

    Examples:
        mtbench plugins
        mtbench plugins cyclegan
        mtbench plugins fid --bibtex
        mtbench plugins mine --plugin mine.py
    """
    if as_bibtex and name is None:
        raise RequestError("--bibtex needs the name of a plugin", expected="mtbench plugins NAME --bibtex")
    registry = discover(plugin_files, third_party=not no_plugins)
    rows = [_row(registry, kind, spec_name) for plugin in registry.plugins for kind, spec_name in plugin.specs]
    if name is not None:
        rows = [row for row in rows if row["name"] == name]
        if not rows:
            names = [n for plugin in registry.plugins for _, n in plugin.specs]
            matches = close_matches(name, names)
            raise RequestError(f"unknown plugin '{name}'", matches=matches, remedy=registry.problem_of(name))
    problems = [p for p in registry.plugins if p.problem]
    if as_bibtex:
        echo(bibtex(row.get("citation", "") for row in rows) or f"% {name} has no citation\n", nl=False)
        return 0
    if as_json:
        set_aside = [{key: getattr(p, key) for key in ("name", "origin", "problem", "remedy")} for p in problems]
        echo_json({"plugins": rows, "set_aside": set_aside})
    elif name is not None:
        for row in rows:
            _show(row, Screen())
    else:
        _list(rows, problems, Screen())
    return 1 if problems and name is None else 0


def _row(registry: Registry, kind: str, name: str) -> dict[str, Any]:
    registration = registry.get(kind, name)
    spec, plugin = registration.spec, registration.plugin
    row: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "distribution": plugin.distribution if plugin.path is None else str(plugin.path),
        "version": plugin.version,
        "state": "ok",
        "description": spec.description,
    }
    if isinstance(spec, Spec):
        row |= {
            "revision": spec.revision,
            "citation": spec.citation,
            "licence": spec.licence,
            "params": {
                key: {"default": p.default, "kind": p.kind, "choices": p.choices, "help": p.help}
                for key, p in spec.params.items()
            },
        }
    return row


def _origin(row: dict[str, Any]) -> str:
    return "built-in" if row["distribution"] == OWN_DISTRIBUTION else f"{row['distribution']} {row['version']}".strip()


def _list(rows: list[dict[str, Any]], problems: list[Plugin], console: Screen) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    order = list(KINDS)
    lines = [
        (row["kind"], row["name"], _origin(row), row["state"], row["description"])
        for row in sorted(rows, key=lambda row: (order.index(row["kind"]), row["name"]))
    ]
    for place, header in enumerate(("kind", "name", "distribution", "state")):
        widest = max((len(line[place]) for line in lines), default=0)
        # The columns that identify a plugin are not cut; the description gets the remaining width.
        table.add_column(header, no_wrap=True, min_width=max(len(header), min(widest, 60)))
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for kind, name, distribution, state, description in lines:
        cells = (f"[bold]{escape(name)}[/]", escape(distribution), f"[green]{state}[/]")
        table.add_row(kind, *cells, f"[dim]{escape(description)}[/]")
    console.print(table)
    for plugin in problems:
        console.print(f"\n[yellow]rejected[/] {escape(f'{plugin.name} of {plugin.origin}')}", highlight=False)
        console.print(f"  {plugin.problem}. Fix: {plugin.remedy}.", markup=False, highlight=False)


def _show(row: dict[str, Any], console: Screen) -> None:
    origin = _origin(row)
    about = f"{origin} {row['kind']}" if origin == "built-in" else f"{row['kind']} of {origin}"
    console.print(f"[bold]{escape(row['name'])}[/]  {escape(about)}", highlight=False)
    for key in ("description", "citation", "licence"):
        if row.get(key):
            console.print(f"{key}: {row[key]}", markup=False, highlight=False)
    if row.get("params"):
        table = Table(box=None, padding=(0, 2, 0, 0))
        for header in ("parameter", "type", "default", ""):
            table.add_column(header)
        for key, param in row["params"].items():
            about = param["help"] + (f" ({', '.join(map(str, param['choices']))})" if param["choices"] else "")
            default = "" if param["default"] is None else str(param["default"])
            table.add_row(*(escape(text) for text in (key, param["kind"], default, about)))
        console.print(table)
