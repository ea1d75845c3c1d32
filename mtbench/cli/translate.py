"""``mtbench translate``: run a translator on new images or volumes, without a suite."""

from __future__ import annotations

from typing import Any

import click

from mtbench.cli.options import config_option, number_pair, plugin_options
from mtbench.cli.verb import Verb
from mtbench.engine.progress import activity_bars
from mtbench.errors import RequestError
from mtbench.screen import Screen, echo
from mtbench.translation import translate


@click.command(cls=Verb)
@click.argument("name", metavar="NAME[:p=v,...]")
@click.argument("input")
@click.argument("output")
@click.option("--checkpoint", metavar="FILE", help="Checkpoint of the translator, or a folder that its save() wrote.")
@click.option("--from", "results", metavar="RESULTS", help="Results directory of a run that trained the translator.")
@click.option("-d", "--dataset", metavar="NAME", help="With --from: the model trained on this data set.")
@click.option("--fold", type=int, metavar="N", help="With --from: the model trained on this fold.")
@click.option(
    "--seed",
    type=int,
    metavar="N",
    help="With --from: the model trained with this seed; otherwise the seed of the noise.",
)
@click.option("--masks", metavar="PATH", help="Label maps for a conditional translator, matched by name.")
@click.option("--labels", metavar="1=NAME,...", help="Names of mask values (default: their numbers).")
@click.option("--plane", type=click.Choice(["axial", "coronal", "sagittal"]), help="Slice orientation for volumes.")
@click.option("--window", metavar="LOW,HIGH", help="Values (or percentiles, 1%,99%) mapped to black and white.")
@click.option("--target-window", metavar="LOW,HIGH", help="Output values that black and white are mapped to.")
@click.option(
    "--size", type=click.IntRange(1), metavar="PIXELS", help="Resize slices to this size for the model, and back."
)
@click.option("--device", metavar="NAME", help="cpu, cuda, ... (default: the GPU if there is one).")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Numeric precision.",
)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Slices per batch (default: 8; 32 on a GPU).")
@click.option("--store", metavar="DIR", help="Store of the run (default: as for `mtbench run`).")
@click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
@click.option("--skip-unreadable", is_flag=True, help="Skip unreadable files and name them.")
@config_option
@plugin_options
def command(name: str, input: str, output: str, **options: Any) -> None:
    """Translate INPUT to OUTPUT with the translator NAME.

    INPUT is an image, a volume, a folder with a DICOM series, or a folder of these; OUTPUT has the same format, size
    and geometry. With --from, images are cropped and scaled like the run's data set.

    Examples:
        mtbench translate cyclegan scans/ out/ --from mtbench-results/mine
        mtbench translate cyclegan scan.nii.gz out.nii.gz --checkpoint latest_net_G_A.pth --plane axial
    """
    options["window"], options["percentiles"] = _window(options["window"])
    if options["target_window"]:
        options["target_window"] = number_pair("--target-window", options["target_window"])
    if options["labels"]:
        options["labels"] = _labels(options["labels"])
    console = Screen(stderr=True)
    with activity_bars(console) as report:
        result = translate(name, input, output, report=report, **options)
    for path, reason in result.left_out:
        echo(f"skipped: {path}: {reason}", err=True)
    for note in result.notes:
        echo(note, err=True)
    count = ", ".join(
        f"{n} {word}{'s' if n != 1 else ''}" for n, word in ((len(result.files), "file"), (result.slices, "slice"))
    )
    where = result.files[0] if len(result.files) == 1 else output
    echo(f"{count} translated to {where}; {result.values}")


def _window(text: str | None) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """A window, or percentiles."""
    if not text:
        return None, None
    if text.count("%") == 2:
        return None, number_pair("--window", text.replace("%", ""))
    return number_pair("--window", text), None


def _labels(text: str) -> dict[int, str]:
    pairs = [item.partition("=") for item in text.split(",")]
    if not all(key.strip().isdigit() and equals and name for key, equals, name in pairs):
        raise RequestError(f"--labels {text}", expected="1=NAME,2=NAME")
    return {int(key): name.strip() for key, _, name in pairs}
