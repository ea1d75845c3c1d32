"""``mtbench rank``: teams ranked by the rule of a challenge, beside other rules."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from mtbench.challenges.ranking import PLAIN, Comparison, compare, rules
from mtbench.challenges.teams import directions, read_results, teams_of
from mtbench.cli.options import plugin_options
from mtbench.cli.plain import plain_table
from mtbench.cli.verb import Verb
from mtbench.registry.challenges import ChallengeMetric, ChallengeSpec
from mtbench.registry.contracts import ResultsFile
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench.screen import Screen, echo_json


@click.command("rank", cls=Verb)
@click.argument("results", nargs=-1, required=True)
@click.option(
    "--rule",
    "rules_",
    multiple=True,
    metavar="CHALLENGE[:p=v]",
    help="Rank by the rule of this challenge; repeatable, the first is compared with the others (default: all rules).",
)
@click.option(
    "-m", "--metric", "metrics", multiple=True, metavar="NAME", help="Rank by these metrics only; repeatable."
)
@click.option("--without", multiple=True, metavar="NAME", help="Rank without this metric; repeatable.")
@click.option("-d", "--dataset", metavar="NAME", help="Task of a results directory with several.")
@click.option("--higher", multiple=True, metavar="NAME", help="Metric for which higher is better; repeatable.")
@click.option("--lower", multiple=True, metavar="NAME", help="Metric for which lower is better; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@plugin_options
def command(
    results: tuple[str, ...],
    rules_: tuple[str, ...],
    metrics: tuple[str, ...],
    without: tuple[str, ...],
    dataset: str | None,
    higher: tuple[str, ...],
    lower: tuple[str, ...],
    as_json: bool,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> None:
    """Rank the teams in RESULTS by the rule of a challenge, and show how much the rule alone changes the order.

    RESULTS are JSON files, one for each team and named after it (`mtbench score --preset CHALLENGE --json`, or the
    results file of the challenge), folders of such files, CSV tables (team, metric, value, optionally case; or team
    and a column for each metric), and results directories (also published:NAME), whose translators are the teams. A
    team may have results in several files.

    Examples:
        mtbench rank teams/ --rule CHALLENGE
        mtbench rank teams/ dose.csv --rule CHALLENGE --lower dose_error
        mtbench rank mtbench-results/mine -m mae -m psnr
    """
    registry = discover(plugin_files, third_party=not no_plugins)
    chosen = rules(registry, rules_)
    declared, readers = _challenges(registry)
    found = read_results(results, readers, dataset)
    teams, names = teams_of(found, metrics, without)
    stated = {**found.higher_is_better, **dict.fromkeys(higher, True), **dict.fromkeys(lower, False)}
    # The directions of the first rule's challenge come before those that other challenges declare.
    own = {metric.name: metric for metric in chosen[0].registration.spec.metrics}
    comparison = compare(chosen, teams, directions(names, stated, {**declared, **own}), required=bool(rules_))
    if as_json:
        echo_json(_record(comparison, found.remarks), readable=True)
        return
    _print(comparison, found.remarks)


def _challenges(registry: Registry) -> tuple[dict[str, ChallengeMetric], list[Any]]:
    """The metrics of all challenges by name, and the readers of their results files."""
    declared: dict[str, ChallengeMetric] = {}
    readers = []
    for name in registry.names("challenge"):
        registration = registry.get(ChallengeSpec, name)
        declared |= {metric.name: metric for metric in registration.spec.metrics}
        challenge = registration.create(registration.complete({}))
        if isinstance(challenge, ResultsFile):
            readers.append(challenge.read_document)
    return declared, readers


def _record(comparison: Comparison, remarks: list[str]) -> dict[str, Any]:
    rankings = {name: asdict(ranking) for name, ranking in comparison.rankings.items()}
    tau = dict(comparison.tau)
    return {"rankings": rankings, "kendall_tau": tau, "skipped": dict(comparison.skipped), "remarks": remarks}


def _print(comparison: Comparison, remarks: list[str]) -> None:
    first, ranking = next(iter(comparison.rankings.items()))
    console = Screen()
    table = plain_table(f"{first}: {ranking.total} {'↑' if ranking.higher_is_better else '↓'}")
    table.add_column("team")
    table.add_column("total", justify="right")
    for name in comparison.rankings:
        table.add_column(name, justify="right")
    for standing in ranking.standings:
        places = [str(each.positions[standing.team]) for each in comparison.rankings.values()]
        table.add_row(Text(standing.team), f"{standing.total:.4f}", *places)
    values = ["–" if tau is None else f"{tau:.2f}" for tau in comparison.tau.values()]
    table.add_section()
    table.add_row(Text(f"tau with {first}"), "", *values)
    console.print(table)
    metrics = ", ".join(f"{each.name} {'↑' if each.higher_is_better else '↓'}" for each in comparison.metrics)
    notes = [
        f"{len(comparison.teams)} teams; metrics: {metrics}.",
        "Columns hold positions; teams with equal totals share one.",
        "tau: Kendall's tau-b between the order of the first rule and that of the column.",
        f"{PLAIN}: mean over metrics, each in standard deviations over teams.",
        *(f"{name}: {text}." for name, each in comparison.rankings.items() for text in each.remarks),
        *(f"{name} cannot rank these results: {reason}" for name, reason in comparison.skipped.items()),
        *remarks,
    ]
    for note in notes:
        console.print(Text(note, style="dim"))
