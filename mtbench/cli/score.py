"""``mtbench score``: metrics for two folders of images, without a suite."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from mtbench.cli.options import number_pair, plugin_options
from mtbench.engine.progress import activity_bars
from mtbench.errors import RequestError
from mtbench.scoring import score
from mtbench.screen import Screen, echo_json


@click.command()
@click.argument("translated")
@click.argument("target")
@click.option(
    "-m", "--metric", "metrics", multiple=True, metavar="NAME[:p=v,...]", help="Only these metrics; may be repeated."
)
@click.option("--preset", metavar="NAME", help="Compute as this program does; `mtbench plugins METRIC` lists presets.")
@click.option("--weights", multiple=True, metavar="EXTRACTOR=FILE", help="A weight file for this call.")
@click.option("--masks", metavar="DIR", help="Label maps of the translated images' anatomy, matched by name.")
@click.option("--predicted", metavar="DIR", help="Label maps that a segmenter found in the translated images.")
@click.option("--labels", metavar="1=NAME,...", help="Names of mask values (default: their numbers).")
@click.option("--paired", is_flag=True, help="TARGET holds the truth of each translated image, by the same name.")
@click.option("--body-mask", metavar="DIR", help="Masks that restrict paired metrics, matched by name.")
@click.option("--plane", type=click.Choice(["axial", "coronal", "sagittal"]), help="How volumes are cut.")
@click.option("--window", metavar="LOW,HIGH", help="Values that become black and white (CT: -1000,1000).")
@click.option("--patient", metavar="REGEX", help="Finds the patient in a file's path; one group. Needed for intervals.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out files that cannot be read, and count them.")
@click.option("--device", metavar="NAME", help="cpu, cuda, ... (default: the GPU if there is one).")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16"]), default="fp32", show_default=True)
@click.option("--batch-size", default=16, show_default=True, type=click.IntRange(1), help="Images per batch.")
@click.option("--seed", default=0, show_default=True, help="Of the N = min draw and of resampling.")
@click.option(
    "--draws",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="How often N = min is drawn; the mean is given.",
)
@click.option("--balance/--all", default=None, help="Distances at N = min, or from all images (default with --preset).")
@click.option("--no-intervals", is_flag=True, help="Values only.")
@click.option("--store", metavar="DIR", help="Where features are kept (default: MTBENCH_STORE or the cache folder).")
@click.option("--json", "as_json", is_flag=True, help="Print a list of rows as JSON.")
@plugin_options
def command(translated: str, target: str, as_json: bool, no_intervals: bool, **options: Any) -> None:
    """Judge the images in TRANSLATED against those in TARGET.

    Without -m every metric is computed that what was given allows; what is left out is named with the reason.
    The features of TARGET are kept, so that the next folder is scored in half the time.
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
        echo_json(rows)
        return
    _print(rows, Screen(), console)


def _pair(option: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise RequestError(f"{option} {text}", expected=f"{option} NAME=VALUE")
    return key.strip(), value.strip()


def _print(rows: list[dict[str, Any]], out: Screen, console: Screen) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for header in ("metric", "value", "95 % interval", "N", "patients"):
        table.add_column(header, justify="left" if header == "metric" else "right")
    notes: list[str] = []
    for row in rows:
        if row["status"] == "skipped":
            notes.append(f"{row['metric']} left out: {row['note']}")
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
        notes += [f"{name}: {text}" for text in (row["caveat"], row["note"], without) if text]
    out.print(table)
    for note in dict.fromkeys(notes):
        console.print(note, style="dim", markup=False, highlight=False)
    for text in rows[0]["other_files"] if rows else ():
        console.print(text, markup=False, highlight=False)
    if rows and rows[0]["unreadable"]:
        console.print(f"{rows[0]['unreadable']} files could not be read and were left out", markup=False)
