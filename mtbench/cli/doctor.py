"""``mtbench doctor``: what this machine offers, what is wrong, and how to fix it."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.text import Text

from mtbench.cli.options import config_option, plugin_options
from mtbench.cli.verb import Verb
from mtbench.engine.doctor import Finding, examine
from mtbench.registry.discovery import discover
from mtbench.screen import Screen, echo_json
from mtbench.store.folders import store_folder

_STYLE = {"ok": "green", "note": "yellow", "problem": "bold red"}


@click.command(cls=Verb)
@click.option("--store", metavar="DIR", help="Store to check (default: as for `mtbench run`).")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@config_option
@plugin_options
def command(
    store: str | None, as_json: bool, config: str | None, plugin_files: tuple[str, ...], no_plugins: bool
) -> int:
    """Check this machine: versions, GPU, precision, disk, memory, weights, data, plugins and executors.

    Nothing is changed or downloaded. The exit code is 1 if a problem would stop or affect runs.

    Examples:
        mtbench doctor
        mtbench doctor --plugin mine.py --json
    """
    registry = discover(plugin_files, third_party=not no_plugins, config=config, careful=True)
    findings = examine(registry, store_folder(store))
    if as_json:
        echo_json([asdict(finding) for finding in findings])
    else:
        _print(findings, Screen())
    return 1 if any(finding.state == "problem" for finding in findings) else 0


def _print(findings: list[Finding], console: Screen) -> None:
    last = ""
    for finding in findings:
        head = "" if finding.about == last else finding.about
        last = finding.about
        line = Text(f"{head:<10} ")
        line.append(f"{finding.state:<8} ", style=_STYLE[finding.state])
        line.append(finding.text)
        console.print(line, soft_wrap=True)
        if finding.cure:
            console.print(f"{'':<20}fix: {finding.cure}", markup=False, highlight=False, soft_wrap=True)
    problems = sum(finding.state == "problem" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    console.print(f"\n{problems} problems, {notes} notes (relevant for some suites only)", highlight=False)
