"""``mtbench check``: run the conformance checks on plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.markup import escape

from mtbench.cli.options import config_option, plugin_options
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.registry.specs import KINDS
from mtbench.screen import Screen, echo_json

if TYPE_CHECKING:
    from mtbench.conformance import Report

_SIGNS = {"passed": "[green]passed[/]", "failed": "[red]FAILED[/]", "untried": "[yellow]untried[/]"}


@click.command("check", cls=Verb)
@click.argument("names", nargs=-1, required=True, metavar="NAME[:p=v,...]|FILE...")
@click.option(
    "--kind", type=click.Choice([*KINDS, "observer"]), help="Kind of the plugin, if several kinds have this name."
)
@click.option("--root", metavar="DIR", help="Folder with the raw files.")
@click.option("--contact-sheet", metavar="DIR", help="Write contact sheets of a data set's slices and masks.")
@click.option("--timeout", type=float, default=120.0, show_default=True, help="Time limit of one check in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@config_option
@plugin_options
def command(
    names: tuple[str, ...],
    kind: str | None,
    root: str | None,
    contact_sheet: str | None,
    timeout: float,
    as_json: bool,
    config: str | None,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> int:
    """Check that plugins meet the requirements of their kind, on small tasks: shapes, range, seeds, saving, leaks.

    A plugin file selects every plugin that it registers. Use parameters to make a large model small enough to check
    (`mtbench check mynet:epochs=1`). The exit code is 1 if a check fails.

    Examples:
        mtbench check mine.py
        mtbench check mynet:epochs=1,filters=4 --plugin mynet/
        mtbench check knees --root ~/data/knees --contact-sheet sheets
        mtbench check identity --json
    """
    from mtbench.conformance import check

    if timeout <= 0:
        raise RequestError(f"--timeout {timeout:g}", expected="a number above 0")
    console = Screen(stderr=True)
    # Each line overwrites the previous one; in a file they would be noise.
    with console.status("starting") if console.is_terminal else _Quiet() as status:
        reports = check(
            *names,
            kind=kind,
            plugin_files=plugin_files,
            third_party=not no_plugins,
            config=config,
            root=root,
            contact_sheet=contact_sheet,
            timeout=timeout,
            watch=lambda question, name: status.update(escape(f"{question.name}: {name}")),
        )
    if as_json:
        echo_json({"ok": all(report.ok for report in reports), "reports": [_record(report) for report in reports]})
    else:
        for report in reports:
            _show(report, Screen())
    return 0 if all(report.ok for report in reports) else 1


class _Quiet:
    """Replaces the status line if there is no terminal."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def update(self, text: str) -> None:
        """Show nothing."""


def _record(report: Report) -> dict[str, object]:
    keys = ("check", "status", "text", "fix", "seconds")
    verdicts = [{key: getattr(verdict, key) for key in keys} for verdict in report.verdicts]
    about = {"kind": report.kind, "name": report.name, "origin": report.origin}
    return {**about, "ok": report.ok, "verdicts": verdicts}


def _show(report: Report, console: Screen) -> None:
    console.print(f"\n[bold]{escape(report.name)}[/]  {report.kind} of {escape(report.origin)}", highlight=False)
    width = max(len(verdict.check) for verdict in report.verdicts)
    for verdict in report.verdicts:
        sign = _SIGNS[verdict.status] + " " * (len("untried") - len(verdict.status))
        console.print(f"  {sign}  {verdict.check:{width}}  {escape(verdict.text)}", highlight=False, soft_wrap=True)
        if verdict.fix:
            console.print(
                f"  {'':7}  {'':{width}}  [bold]fix:[/] {escape(verdict.fix)}", highlight=False, soft_wrap=True
            )
    count = {status: sum(v.status == status for v in report.verdicts) for status in ("passed", "failed", "untried")}
    text = f"{count['passed']} passed, {count['failed']} failed, {count['untried']} untried"
    console.print(f"  {text}", style="green" if report.ok else "red", highlight=False)
