"""``mtbench kit``: let another laboratory add rows without the images of the target domain, and add such rows."""

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
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The kit, or the results.")
@click.option(
    "--level", type=click.Choice(list(LEVELS)), default="segmenter", show_default=True, help="What is shared."
)
@click.option("-t", "--translator", metavar="NAME[:p=v,...]", help="With KIT: the translator to add.")
@click.option(
    "--source", type=click.Path(path_type=Path), metavar="DIR", help="With KIT: your export of the source slices."
)
@click.option("--device", help="With KIT: cpu, cuda, cuda:1, ...")
@click.option("--store", metavar="DIR", help="Where the artefacts of RESULTS are (default: as for `mtbench run`).")
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
    """Write a kit of RESULTS: protocol, hashes, frozen target features, segmenters; no image.

    With a KIT, -t and --source: translate your own copy of the source slices and write the rows of the translator to
    --out, which goes back to the kit's laboratory for `mtbench results merge`.

    Examples:
        mtbench kit mtbench-results/knees -o kit
        mtbench kit kit -t precomputed:translated --source source -o theirs
    """
    if (folder / FILE).is_file():
        if translator is None or source is None:
            raise RequestError(f"{folder} is a kit", expected="-t TRANSLATOR and --source EXPORT, to add its row")
        registry = discover(plugin_files, third_party=not no_plugins)
        tally = score(folder, translator, source, out, registry, device=device, say=lambda text: echo(text, err=True))
        for name, reason in tally.left_out:
            echo(f"left out: {name}: {reason}")
        echo(f"{tally.rows} numbers in {out}; at the kit's laboratory: mtbench results merge THEIRS {out} -o ALL")
        return
    if translator is not None or source is not None:
        raise RequestError("-t and --source are for a kit", where=str(folder), expected=f"a folder with {FILE}")
    kit = export(folder, out, Store(store_folder(store)), level)
    echo(f"{out}: {sum(not judge.lacks for judge in kit.judges)} of {len(kit.judges)} numbers can be added with it")
    for shared in list(LEVELS)[: list(LEVELS).index(level) + 1]:
        echo(f"  shared ({shared}): {LEVELS[shared]}")
