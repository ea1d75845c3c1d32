"""``mtbench run``: run a benchmark suite and print its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mtbench.api import run
from mtbench.cli.options import plugin_options, suite_options
from mtbench.cli.verb import Verb
from mtbench.screen import Screen


@click.command(cls=Verb)
@click.argument("suite")
@suite_options
@click.option("--out", metavar="DIR", help="Results directory (default: mtbench-results/SUITE).")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one).")
@click.option(
    "--executor", default="", metavar="NAME[:p=v,...]", help="Executor that runs the units; see `mtbench plugins`."
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Number of units at the same time; on GPUs, of those that use one (default: one per GPU, or by CPU cores).",
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Stop a unit that takes longer."
)
@click.option(
    "--memory",
    "memory_gb",
    type=click.FloatRange(0, min_open=True),
    metavar="GB",
    help="Stop a unit that uses more memory (GB = 1e9 bytes).",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Slices per inference batch (default: 8; on GPUs 256 for features, else 32).",
)
@click.option("--fresh", multiple=True, metavar="STAGE", help="Recompute all units of a stage.")
@click.option(
    "--keep",
    multiple=True,
    type=click.Choice(["fit"]),
    help="Keep fits although the code of their plugin file or editable install has changed; their rows say so.",
)
@click.option(
    "--rerun",
    multiple=True,
    metavar="failed|all|UNIT",
    help="Units to rerun (default: failed); a unit by key or name.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show failures and the table only.")
@plugin_options
def command(suite: str, **options: Any) -> int:
    """Run SUITE, a file or the name of a registered suite (try `quickstart`).

    Cached units are reused: a new metric or translator requires only its own units. Failed units are retried. Ctrl-C
    lets running units finish; a second Ctrl-C stops at once. Finished units are kept.

    Examples:
        mtbench run quickstart
        mtbench run mine.toml --jobs 4 --device cuda
        mtbench run quickstart -t identity -t mine --plugin mine.py
        mtbench run mine.toml --set seeds=[0,1,2] --rerun failed
    """
    console = Screen(stderr=True)
    result = run(suite, console=console, **options)
    out = Screen()
    out.print()
    result.show(out)
    counts, failures = result.summary.counts, result.summary.failures
    new, cached = counts.get("ok", 0), counts.get("cached", 0)
    if not new and not failures:
        console.print(f"\nNothing to do: all {cached} units are cached.", highlight=False)
    else:
        text = f"\n{new} unit{'s' * (new != 1)} computed, {cached} reused"
        if failures:
            text += f", {len(failures)} failed, {counts.get('skipped', 0)} skipped because of these failures"
        console.print(f"{text} ({result.summary.seconds:.0f} s).", highlight=False)
    for name, reason in failures[:10]:
        console.print(f"  failed: {name}: {reason}", highlight=False, markup=False)
    path, here = result.results.path, Path.cwd()
    path = path.relative_to(here) if path.is_relative_to(here) else path
    console.print(f"\nResults: {path}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"Next:    mtbench export {path}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"         mtbench report {path}", highlight=False, markup=False, soft_wrap=True)
    if failures:
        console.print("         rerun the same command to retry failed units", highlight=False)
    return 1 if failures else 0
