"""``mtbench score``: metrics for two folders of images, without a suite."""

from __future__ import annotations

import math
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from mtbench.cli.options import number_pair, plugin_options
from mtbench.cli.verb import Verb
from mtbench.engine.progress import activity_bars
from mtbench.errors import RequestError
from mtbench.scoring import score
from mtbench.screen import Screen, echo_json


@click.command(cls=Verb)
@click.argument("translated")
@click.argument("target")
@click.option(
    "-m", "--metric", "metrics", multiple=True, metavar="NAME[:p=v,...]", help="Only these metrics; repeatable."
)
@click.option(
    "--preset",
    metavar="NAME",
    help="Score as a challenge or another program does; `mtbench plugins` lists challenges, `mtbench plugins METRIC` "
    "the presets of a metric.",
)
@click.option("--challenge-json", metavar="FILE", help="With a challenge: write the JSON that its own program writes.")
@click.option(
    "--weights", multiple=True, metavar="EXTRACTOR=FILE", help="Weight file for an extractor, for this call only."
)
@click.option("--masks", metavar="DIR", help="Reference label maps of the translated images, matched by name.")
@click.option("--predicted", metavar="DIR", help="Label maps that a segmenter predicted on the translated images.")
@click.option("--labels", metavar="1=NAME,...", help="Names of mask values (default: their numbers).")
@click.option(
    "--paired", is_flag=True, help="TARGET holds the true image for each translated image, under the same name."
)
@click.option("--body-mask", metavar="DIR", help="Masks that restrict paired metrics, matched by name.")
@click.option("--plane", type=click.Choice(["axial", "coronal", "sagittal"]), help="Slice orientation for volumes.")
@click.option("--window", metavar="LOW,HIGH", help="Values mapped to black and white (CT: -1000,1000).")
@click.option(
    "--patient",
    metavar="REGEX",
    help="Regular expression (one group) for the patient in a file path; needed for intervals.",
)
@click.option("--skip-unreadable", is_flag=True, help="Skip unreadable files and report how many.")
@click.option("--device", metavar="NAME", help="cpu, cuda, ... (default: the GPU if there is one).")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Numeric precision.",
)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images per batch (default: 16; 256 on a GPU).")
@click.option("--seed", default=0, show_default=True, help="Seed of sampling and resampling.")
@click.option(
    "--draws",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Number of draws of N = min images; the mean is reported.",
)
@click.option(
    "--balance/--all", default=None, help="Compute distances at N = min, or from all images (default with --preset)."
)
@click.option("--no-intervals", is_flag=True, help="Do not compute confidence intervals.")
@click.option("--store", metavar="DIR", help="Store of features (default: MTBENCH_STORE or the cache folder).")
@click.option("--json", "as_json", is_flag=True, help="Print a list of rows as JSON.")
@plugin_options
def command(translated: str, target: str, as_json: bool, no_intervals: bool, **options: Any) -> None:
    """Score the images in TRANSLATED against those in TARGET.

    Without -m, mtbench computes every metric that the inputs allow and says why others are skipped. The features of
    TARGET are cached, so scoring another folder takes half the time.

    Examples:
        mtbench score translated/ target/
        mtbench score translated/ target/ -m fid -m swd --json
        mtbench score synthetic_ct/ ct/ --paired --plane axial --window -1000,1000
        mtbench score translated/ target/ --patient '(P[0-9]+)_'
        mtbench score predictions/ truth/ --preset CHALLENGE --challenge-json metrics.json
    """
    options["weights"] = dict(_pair("--weights", item) for item in options["weights"])
    options["window"] = number_pair("--window", options["window"]) if options["window"] else None
    if options["labels"]:
        pairs = [_pair("--labels", item) for item in options["labels"].split(",")]
        if not all(key.isdigit() for key, _ in pairs):
            raise RequestError(f"--labels {options['labels']}", expected="1=NAME,2=NAME")
        options["labels"] = {int(key): name for key, name in pairs}
    console = Screen(stderr=True)
    with activity_bars(console) as report:
        rows = score(translated, target, intervals=not no_intervals, report=report, **options)
    if as_json:
        echo_json(_strict(list(rows)))
        return
    _print(rows, Screen(), console)


def _strict(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite, which a challenge may return, become null."""
    if isinstance(value, dict):
        return {key: _strict(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise RequestError(f"{option} {text}", expected=f"{option} NAME=VALUE")
    return key.strip(), value.strip()


def _print(rows: list[dict[str, Any]], out: Screen, console: Screen) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for header in ("metric", "value", "95 % interval", "N", "patients"):
        table.add_column(header, justify="left" if header == "metric" else "right")
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] == "skipped":
            notes.setdefault(row["note"], []).append(f"{row['metric']} skipped")
            continue
        name = row["title"] + (f"[{row['variant']}]" if row["variant"] else "") + row["mark"]
        name += f" {row['label']}" if row["label"] else ""
        name += " ↑" if row["higher_is_better"] else " ↓"
        digits = f".{row['decimals']}f" if row["decimals"] is not None else ".4g"
        value = escape(f"{row['value']:{digits}} {row['measure_unit']}".strip())
        interval = f"{row['ci_low']:{digits}} to {row['ci_high']:{digits}}" if row.get("ci_low") is not None else ""
        patients = "/".join(str(row[k]) for k in ("n_patients_translated", "n_patients_target") if row[k] is not None)
        table.add_row(escape(name), value, interval, str(row["n"] or row["n_translated"]), patients)
        without = f"no interval: {row['without_interval']}" if row["without_interval"] else ""
        for text in filter(None, (row["caveat"], row["note"], without)):
            notes.setdefault(text, []).append(name)
    out.print(table)
    for text, names in notes.items():
        console.print(f"{', '.join(dict.fromkeys(names))}: {text}", style="dim", markup=False, highlight=False)
    for text in rows[0]["other_files"] if rows else ():
        console.print(text, markup=False, highlight=False)
    if rows and rows[0]["unreadable"]:
        count = rows[0]["unreadable"]
        console.print(f"{count} unreadable file{'s' * (count != 1)} skipped", markup=False)
