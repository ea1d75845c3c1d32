"""``mtbench kit``: let another laboratory add rows without images of the target domain; add such rows."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.cli.options import plugin_options
from mtbench.cli.verb import Verb
from mtbench.errors import RequestError
from mtbench.kit import LEVELS, Level, export, score
from mtbench.kit.contents import FILE
from mtbench.registry.discovery import discover
from mtbench.screen import echo
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder


@click.command("kit", cls=Verb)
@click.argument("folder", metavar="RESULTS|KIT", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Output folder: the kit, or with KIT the results.",
)
@click.option(
    "--level", type=click.Choice(list(LEVELS)), default="segmenter", show_default=True, help="What the kit shares."
)
@click.option("-t", "--translator", metavar="NAME[:p=v,...]", help="With KIT: the translator to add.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With KIT: your `mtbench data export` of the source slices.",
)
@click.option("--device", help="With KIT: cpu, cuda, cuda:1, ...")
@click.option("--store", metavar="DIR", help="Store with the artefacts of RESULTS (default: as for `mtbench run`).")
@plugin_options
def command(
    folder: Path,
    out: Path,
    level: Level,
    translator: str | None,
    source: Path | None,
    device: str | None,
    store: str | None,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> None:
    """Write a kit of RESULTS: protocol, hashes, features of the target images and segmenters, but no image.

    With a KIT, -t and --source: translate your own copy of the source slices and write the translator's rows to --out.
    Send that folder to the laboratory that made the kit, which adds it with `mtbench results merge`.

    Examples:
        mtbench kit mtbench-results/knees -o kit
        mtbench kit kit -t precomputed:translated --source source -o theirs
    """
    if (folder / FILE).is_file():
        if translator is None or source is None:
            raise RequestError(f"{folder} is a kit", expected="-t TRANSLATOR and --source EXPORT")
        registry = discover(plugin_files, third_party=not no_plugins)
        tally = score(folder, translator, source, out, registry, device=device, say=lambda text: echo(text, err=True))
        for name, reason in tally.left_out:
            echo(f"skipped: {name}: {reason}")
        echo(f"{tally.rows} scores in {out}. The laboratory that made the kit adds them:")
        echo(f"  mtbench results merge THEIRS {out} -o ALL")
        return
    if translator is not None or source is not None:
        raise RequestError("-t and --source need a kit", where=str(folder), expected=f"a folder that contains {FILE}")
    kit = export(folder, out, Store(store_folder(store)), level)
    echo(f"{out}: {sum(not judge.lacks for judge in kit.judges)} of {len(kit.judges)} scores can be computed with it")
    for shared in list(LEVELS)[: list(LEVELS).index(level) + 1]:
        echo(f"  shared ({shared}): {LEVELS[shared]}")
