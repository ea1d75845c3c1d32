"""``mtbench stress``: damage on purpose, and how each metric responds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mtbench.analysis.terminal import render
from mtbench.cli.options import name_and_value, plugin_options
from mtbench.cli.verb import Verb
from mtbench.compute.devices import resolve_device
from mtbench.compute.inference import prepare_torch
from mtbench.engine.progress import activity_bars, make_progress
from mtbench.errors import RequestError
from mtbench.integers import check_seed
from mtbench.preparation.licences import Licences
from mtbench.preparation.request import prepare, requests
from mtbench.registry.discovery import discover
from mtbench.registry.specs import DatasetSpec, ExtractorSpec
from mtbench.scoring.features import FeatureSource, network_key
from mtbench.screen import Screen, echo
from mtbench.stages import STAGES
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder
from mtbench.stress.bench import Bench, MetricChoice, Results, check_metrics
from mtbench.stress.cards import cards
from mtbench.stress.files import write
from mtbench.stress.material import Material, take
from mtbench.stress.matrix import matrix
from mtbench.stress.networks import Fitter, trained_networks
from mtbench.stress.operators import LEVELS, OPERATORS, choose
from mtbench.stress.response import profiles

if TYPE_CHECKING:
    from mtbench.preparation.request import DatasetRequest
    from mtbench.registry.needs import Features
    from mtbench.registry.registry import Registry
    from mtbench.scoring.features import TrainedNetwork
    from mtbench.stress.networks import FixedSegmenter


@click.command("stress", cls=Verb)
@click.argument("metrics", nargs=-1, metavar="[METRIC[:p=v,...]]...")
@click.option(
    "-d",
    "--dataset",
    metavar="NAME[:p=v,...]|SUITE",
    help="Data set, by name or as the only one of a suite (default: the first synthetic, paired one).",
)
@click.option("--root", metavar="DIR", help="Folder with the raw files.")
@click.option(
    "--operator",
    "operators",
    multiple=True,
    metavar="NAME[=s1,s2,...]",
    help="Only this damage, with these strengths; repeatable.",
)
@click.option(
    "--levels", default=LEVELS[0], show_default=True, type=click.IntRange(*LEVELS), help="Levels of each operator."
)
@click.option("--slices", default=100, show_default=True, type=click.IntRange(2), help="Slices on each side, at most.")
@click.option(
    "--segmenter",
    metavar="NAME[:p=v,...]",
    help="Fit it on real target slices; needed for Dice and for matched comparisons.",
)
@click.option(
    "--weights", multiple=True, metavar="EXTRACTOR=FILE", help="Weight file for an extractor, for this call only."
)
@click.option("--device", metavar="NAME", help="cpu, cuda, ... (default: the GPU if there is one).")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16"]), default="fp32", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images per batch (default: 16; 256 on a GPU).")
@click.option("--seed", default=0, show_default=True, help="Seed of damage, halves and draws.")
@click.option("--no-intervals", is_flag=True, help="Do not compute confidence intervals.")
@click.option("-o", "--out", metavar="DIR", help="Folder for the results (default: mtbench-stress/DATASET).")
@click.option("--store", metavar="DIR", help="Store of artefacts (default: as for `mtbench run`).")
@click.option("--list", "list_operators", is_flag=True, help="List the operators and stop.")
@plugin_options
def command(
    metrics: tuple[str, ...],
    dataset: str | None,
    root: str | None,
    operators: tuple[str, ...],
    levels: int,
    slices: int,
    segmenter: str | None,
    weights: tuple[str, ...],
    device: str | None,
    precision: str,
    batch_size: int | None,
    seed: int,
    no_intervals: bool,
    out: str | None,
    store: str | None,
    list_operators: bool,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> None:
    """Damage true translations in graded, seeded steps and show how each METRIC responds; without METRIC, all.

    Prints a matrix of scores by operators and a card for each score. A failure is informative; a pass is only a reason
    to test the metric on your own data. Results are kept in the store: a second call computes only what is new.

    Examples:
        mtbench stress ssim swd -d phantom-lumbar
        mtbench stress dice fid --segmenter unet --operator shift --operator noise=0.05,0.1,0.2
        mtbench stress swd mmd:extractor=radiomics -d my-data.toml --slices 60
        mtbench stress sharpness --plugin sharpness.py
    """
    if list_operators:
        _list()
        return
    registry = discover(plugin_files, third_party=not no_plugins)
    chosen = [MetricChoice.of(registry, call) for call in dict.fromkeys(metrics or registry.names("metric"))]
    choose(operators, levels, 2)  # Refuse a wrong name before any work.
    request = _dataset(dataset, registry, root)
    artefacts = Store(store_folder(store))
    _check_licence(request, artefacts)
    device, seed = resolve_device(device), check_seed(seed, "--seed")
    console = Screen(stderr=True)
    needs = [need for metric in chosen for need in metric.needs if not isinstance(need, str)]
    material, fixed, trained = _prepared(request, registry, artefacts, console, segmenter, needs, device, slices, seed)
    prepare_torch(precision, 2)
    batch = batch_size or STAGES["extract"].batch_size(device, on_cpu=16)
    source = FeatureSource(registry, artefacts, device, precision, batch, lambda what, done, total: None, trained)
    files = dict(name_and_value(text) for text in weights)
    with activity_bars(console) as report:
        bench = Bench(material, source, artefacts, fixed, seed, not no_intervals, files, report)
        results = bench.run(chosen, choose(operators, levels, len(material.candidate)))
    check_metrics(results)
    _show(results, material, Path(out or f"mtbench-stress/{request.name}"), registry)


def _prepared(
    request: DatasetRequest,
    registry: Registry,
    store: Store,
    console: Screen,
    segmenter: str | None,
    needs: Sequence[Features],
    device: str,
    slices: int,
    seed: int,
) -> tuple[Material, FixedSegmenter | None, dict[str, TrainedNetwork]]:
    """The undamaged sets, the fitted segmenter, and the networks of ``needs`` that are trained."""
    watcher = make_progress(console)
    trained = {network_key(need) for need in needs if registry.get(ExtractorSpec, need.extractor).spec.trains}
    watcher.begin(2 + bool(segmenter) + len(trained))
    try:
        prepared = prepare(request, registry, store, watcher)
        material = take(prepared, slices, seed)
        fitter = Fitter(prepared, registry, store, watcher, device)
        fixed = fitter.segmenter(segmenter) if segmenter else None
        return material, fixed, trained_networks(needs, fitter, fixed)
    finally:
        watcher.end()


def _dataset(call: str | None, registry: Registry, root: str | None) -> DatasetRequest:
    if call is None:
        specs = [registry.get(DatasetSpec, name).spec for name in registry.names("dataset")]
        drawn = [spec.name for spec in specs if spec.access == "generated" and spec.paired]
        if not drawn:
            raise RequestError("no installed data set is synthetic and paired", remedy="Name one with -d")
        call = drawn[0]
    found = requests(call, registry, root=root)
    if len(found) != 1:
        raise RequestError(f"'{call}' names {len(found)} data sets", where="--dataset", expected="one data set")
    return found[0]


def _check_licence(request: DatasetRequest, store: Store) -> None:
    if not Licences(store.root).accepted(request.choice.spec):
        raise RequestError(
            f"the licence of '{request.choice.spec.name}' has not been accepted yet",
            remedy=f"Run `mtbench data prepare {request.choice.spec.name}` first",
        )


def _show(results: Results, material: Material, folder: Path, registry: Registry) -> None:
    found = profiles(results, material)
    table = matrix(found, results.series, material)
    written = cards(found, results.segmenter)
    render(table, Screen())
    for card in written:
        echo("\n" + "\n".join(card.lines()))
    write(folder, table, found, written, registry)
    echo(f"{results.computed} scores computed, {results.reused} reused; results in {folder}", err=True)


def _list(names: Sequence[str] = tuple(OPERATORS)) -> None:
    for name in names:
        operator = OPERATORS[name]
        words = f"{operator.family}, {operator.effect.replace('_', ' ')}"
        strongest = f"up to {operator.strongest:g} {operator.unit}" if operator.strongest else operator.unit
        echo(f"{name:<15} {words}; {strongest}\n{'':<15} {operator.help}")
