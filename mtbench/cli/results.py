"""``mtbench results``: show, merge and verify results directories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from mtbench.analysis.numbers import format_number
from mtbench.analysis.table import build_table
from mtbench.analysis.terminal import render
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError, shorten
from mtbench.results.directory import load
from mtbench.results.environments import gpu_text
from mtbench.results.merge import merge as merge_folders
from mtbench.results.unit import as_record, unit_details
from mtbench.results.verify import verify as examine
from mtbench.screen import Screen, echo, echo_json

if TYPE_CHECKING:
    from mtbench.analysis.model import Spread
    from mtbench.results.merge import Conflict, Tally
    from mtbench.results.unit import UnitDetails


@click.group("results")
def command() -> None:
    """Show, merge and verify results directories."""


@command.command("show", cls=Verb)
@click.argument("results")
@click.argument("unit", required=False)
@click.option("--intervals", is_flag=True, help="Show 95 % confidence intervals (by patient).")
@click.option("--bounds", is_flag=True, help="Show distribution-free 95 % limits for the mean.")
@click.option("--std", is_flag=True, help="Show standard deviations over seeds.")
@click.option("--units", is_flag=True, help="List the units; in a pipe, one tab-separated line each.")
@click.option("--host", is_flag=True, help="With UNIT: include the host name.")
@click.option("--json", "as_json", is_flag=True, help="Print rows, unit or units as JSON.")
def show(
    results: str, unit: str | None, intervals: bool, bounds: bool, std: bool, units: bool, host: bool, as_json: bool
) -> None:
    """Print the table of RESULTS, a results directory or published:midl2024, or the details of UNIT.

    UNIT is the name of a unit or the beginning of its key. In the table, the best is bold and the runner-up underlined.

    Examples:
        mtbench results show mtbench-results/mine --intervals
        mtbench results show mtbench-results/mine --units
        mtbench results show mtbench-results/mine 3f9c21d0
        mtbench results show published:midl2024
    """
    spreads: dict[Spread, bool] = {"interval": intervals, "bound": bounds, "std": std}
    if sum(spreads.values()) > 1:
        raise RequestError("--intervals, --bounds and --std exclude each other", expected="one of them")
    if (unit or units) and results.startswith("published:"):
        raise RequestError("published results have no units", where=results)
    console = Screen()
    if unit:
        details = unit_details(Path(results), unit)
        if as_json:
            echo_json(as_record(details), readable=True)
        else:
            _print_details(details, host, console)
        return
    if units:
        _list(results, console, as_json)
        return
    if as_json:
        echo_json(load(results).to_pylist(), readable=True)
        return
    render(build_table(load(results), spread=next((s for s, chosen in spreads.items() if chosen), "none")), console)


def _list(results: str, console: Screen, as_json: bool) -> None:
    last = {a["unit_key"]: a for a in load(results, "attempts").to_pylist()}
    if as_json:
        echo_json(list(last.values()), readable=True)
        return
    if not console.is_terminal:
        for key, a in last.items():
            echo("\t".join((key[:12], a["status"], f"{a['seconds'] or 0:.1f}", a["name"])))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    for head in ("unit", "name", "state", "seconds"):
        table.add_column(head, justify="right" if head == "seconds" else "left", overflow="fold")
    for key, a in last.items():
        style = "" if a["status"] in ("ok", "cached") else "red"
        table.add_row(key[:12], Text(a["name"]), Text(a["status"], style=style), f"{a['seconds'] or 0:.1f}")
    console.print(table)


def _print_details(details: UnitDetails, host: bool, console: Screen) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def line(name: str, value: object) -> None:
        if value not in (None, "", {}, []):
            table.add_row(name, Text(shorten(str(value), 10_000)))

    origin, request = details.provenance, details.request
    line("unit", details.name)
    line("key", details.key)
    line("stage", details.stage)
    line("plugin", f"{request.get('kind', '')} {request.get('plugin', '')}".strip())
    line("versions", ", ".join(f"{name} {version}" for name, version in sorted(origin.plugins.items())))
    for name in ("params", "options"):
        line(name, json.dumps(request[name], ensure_ascii=False, sort_keys=True) if request.get(name) else "")
    for name in ("seed", "precision", "threads"):
        line(name, request.get(name))
    for text in dict.fromkeys(_data(row) for row in details.rows):
        line("data", text)
    weights = [row[n] for row in details.rows for n in ("weights_sha256", "translator_weights_sha256") if row[n]]
    line("weights", ", ".join(dict.fromkeys(f"sha256 {sha}" for sha in weights)))
    for role, name, digest in details.inputs:
        line("reads", f"{name} ({role}, sha256 {digest[:16] or 'unknown'})")
    line("code", f"git {origin.git_commit}" if origin.git_commit else "installed (not a checkout)")
    line("environment", f"{origin.environment}: Python {origin.python}, {origin.platform}" if origin.python else "")
    line("device", ": ".join(filter(None, (origin.device, gpu_text(origin.gpu)))))
    line("host", origin.host if host else "")
    for a in details.attempts:
        duration = f", {a['seconds']:.1f} s" if a["seconds"] else ""
        begun = f", {a['started']}" if a["started"] else ""
        line(f"attempt {a['attempt']}", f"{a['status']}{begun}{duration}{': ' + a['reason'] if a['reason'] else ''}")
    line("peak memory", f"{origin.peak_memory_mb:.0f} MB" if origin.peak_memory_mb else "")
    if origin.device.startswith("cuda"):
        line("of the machine", f"{origin.host_memory_mb:.0f} MB" if origin.host_memory_mb else "")
    line("content", f"sha256 {details.digest}" if details.digest else "")
    for row in details.rows:
        line("value", _value(row))
    for text in dict.fromkeys(row["stale"] for row in details.rows if row["stale"]):
        line("stale", text)
    console.print(table)
    if details.command:
        console.print("\nTo recompute it:")
        console.print(f"  {details.command}", markup=False, highlight=False, soft_wrap=True)
    for remark in details.remarks:
        console.print(Text(remark, style="dim"))


def _data(row: Mapping[str, Any]) -> str:
    parts = [row["dataset"], f"revision {row['dataset_revision']}" if row["dataset_revision"] else ""]
    parts += [row["dataset_params"] if row["dataset_params"] not in (None, "{}") else "", row["split"]]
    return ", ".join(filter(None, [*parts, f"fold {row['fold']}" if row["fold"] is not None else ""]))


def _value(row: Mapping[str, Any]) -> str:
    name = f"{row['title'] or row['metric']}{'[' + row['variant'] + ']' if row['variant'] else ''} {row['label'] or ''}"
    if row["value"] is None:
        return f"{name.strip()}: {row['status']}, {row['note']}"
    text = f"{name.strip()} {format_number(row['value'], row['decimals'])}"
    if row["without_interval"]:
        text += f" (no interval: {row['without_interval']})"
    if row["ci_low"] is not None and row["ci_high"] is not None:
        text += f" [{format_number(row['ci_low'], row['decimals'])}, {format_number(row['ci_high'], row['decimals'])}]"
    return text


@command.command("merge", cls=Verb)
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, metavar="OUT", type=click.Path(path_type=Path), help="New results directory."
)
def merge(folders: tuple[Path, ...], out: Path) -> int:
    """Merge the results directories DIR... into OUT.

    Equal scores from the same inputs are kept once; a repeated fit is kept as a replicate. Scores from the same inputs
    that differ by more than rounding are conflicts: both are kept with their provenance, and the exit code is 1.

    Examples:
        mtbench results merge mtbench-results/mine other-lab/mine -o mtbench-results/all
    """
    tally = merge_folders(folders, out)
    for conflict in tally.conflicts:
        _conflict(conflict)
    echo(_summary(tally, out), err=True)
    return 1 if tally.conflicts else 0


def _conflict(conflict: Conflict) -> None:
    echo(f"conflict: {conflict.row}")
    for values, provenance in zip(conflict.values, conflict.provenances, strict=True):
        numbers = ", ".join(f"{label or 'value'} {value!r}" for label, value in values.items())
        echo(f"  {provenance.folder}: {numbers}\n    {provenance.summary()}")
    apart = conflict.provenances[0].differences(conflict.provenances[1])
    if apart:
        more = f" and {len(apart) - 12} more" if len(apart) > 12 else ""
        echo(f"  different packages: {', '.join(apart[:12])}{more}")


def _summary(tally: Tally, out: Path) -> str:
    parts = [f"{tally.rows} rows in {out}"]
    for count, text in (
        (tally.same, "duplicates that agree"),
        (tally.replicates, "added as replicates"),
        (tally.apart, "kept as separate rows (another plugin version or other files)"),
        (tally.superseded, "failed or skipped in one directory, with a score in another"),
        (len(tally.conflicts), "conflicts on the same inputs, both scores kept"),
    ):
        if count:
            parts.append(f"{count} {text}")
    return "; ".join(parts)


@command.command("verify", cls=Verb)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify(folder: Path, as_json: bool) -> int:
    """Check the results directory DIR: checksums, schema, orphans, incomplete rows, tables against the journal.

    The exit code is 1 if there is a problem.

    Examples:
        mtbench results verify mtbench-results/mine
        mtbench results verify mtbench-results/mine --json
    """
    findings = examine(folder)
    problems = sum(finding.problem for finding in findings)
    if as_json:
        echo_json([vars(f) for f in findings])
        return 1 if problems else 0
    for finding in findings:
        echo(f"{'problem' if finding.problem else 'note'}: {finding.where}: {finding.text}")
    echo(f"{problems} problems" if problems else f"{folder}: no problems", err=True)
    return 1 if problems else 0
