"""``mtbench data``: list, prepare, check and export data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from mtbench.cli.options import plugin_options
from mtbench.cli.verb import Verb
from mtbench.engine.progress import make_progress
from mtbench.errors import DataError, RequestError
from mtbench.paths import expand
from mtbench.preparation.checks import as_json as plain
from mtbench.preparation.checks import check, image_sets
from mtbench.preparation.exchange import MANIFEST
from mtbench.preparation.export import export
from mtbench.preparation.licences import Licences
from mtbench.preparation.request import lookup, prepare, requests
from mtbench.preparation.sheets import contact_sheet
from mtbench.registry.discovery import discover
from mtbench.registry.specs import DatasetSpec
from mtbench.screen import Screen, echo, echo_json
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder

if TYPE_CHECKING:
    from mtbench.data import Domain
    from mtbench.preparation.checks import CheckReport
    from mtbench.preparation.exchange import Manifest
    from mtbench.preparation.export import Form, Side
    from mtbench.preparation.request import DatasetRequest, PreparedDataset

_STORE = click.option("--store", metavar="DIR", help="Store of artefacts (default: as for `mtbench run`).")
_ROOT = click.option("--root", metavar="DIR", help="Folder with the raw files.")
_ONLY = click.option(
    "-d", "--dataset", "only", multiple=True, metavar="NAME", help="Data sets of the suite; repeatable."
)


@click.group("data")
def command() -> None:
    """List, prepare, check and export data sets."""


@command.command("list", cls=Verb)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@plugin_options
def list_datasets(name: str | None, as_json: bool, plugin_files: tuple[str, ...], no_plugins: bool) -> None:
    """List data sets, or show NAME: licence, access, size, how to obtain it, what is not tested on real files.

    Examples:
        mtbench data list
        mtbench data list breast-siemens-ge
        mtbench data list --json
    """
    registry = discover(plugin_files, third_party=not no_plugins)
    names = [name] if name else registry.names("dataset")
    specs = [registry.get(DatasetSpec, dataset).spec for dataset in names]
    if as_json:
        keys = (
            *("name", "description", "revision", "access", "licence", "size", "source", "target", "channels"),
            *("needs_root", "obtain", "citation", "published", "unverified"),
        )
        rows = [{key: getattr(spec, key) for key in keys} for spec in specs]
        echo_json(rows[0] if name else rows)
        return
    for place, spec in enumerate(specs):
        if place:
            echo()
        _show(spec)
    echo(f"\nParameters: mtbench plugins {name or 'NAME'}")


@command.command("prepare", cls=Verb)
@click.argument("target")
@_ROOT
@_ONLY
@click.option("--accept-licence", is_flag=True, help="Accept the licence without a prompt.")
@click.option("--strict", is_flag=True, help="Fail if any case is unusable (default: unusable cases are skipped).")
@_STORE
@plugin_options
def prepare_dataset(
    target: str,
    root: str | None,
    only: tuple[str, ...],
    accept_licence: bool,
    strict: bool,
    store: str | None,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> None:
    """Prepare TARGET: convert its images once to the format that runs use.

    TARGET is a data set (NAME or NAME:PARAMETER=VALUE,...) with its --root, or a suite.

    Examples:
        mtbench data prepare breast-siemens-ge --root ~/duke
        mtbench data prepare phantom-lumbar:size=64
        mtbench data prepare knees.toml -d knees --strict
    """
    registry = discover(plugin_files, third_party=not no_plugins)
    dataset_requests = requests(target, registry, root=root, only=only)
    artefact_store = Store(store_folder(store))
    for request in dataset_requests:
        _licence(request.choice.spec, Licences(artefact_store.root), accept_licence)
    watcher = make_progress(Screen(stderr=True))
    for request in dataset_requests:
        watcher.begin(2)
        try:
            prepared = prepare(request, registry, artefact_store, watcher, strict=strict)
        finally:
            watcher.end()
        _print_outcome(prepared)


@command.command("check", cls=Verb)
@click.argument("target")
@_ROOT
@_ONLY
@click.option("--out", metavar="DIR", help="Folder for contact sheets (default: mtbench-data/NAME).")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_STORE
@plugin_options
def check_dataset(
    target: str,
    root: str | None,
    only: tuple[str, ...],
    out: str | None,
    as_json: bool,
    store: str | None,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> int:
    """Check the prepared TARGET: counts, leaks, masks, intensities, contact sheets.

    The exit code is 1 if there is a leak.

    Examples:
        mtbench data check breast-siemens-ge --root ~/duke
        mtbench data check knees.toml --out sheets
    """
    registry = discover(plugin_files, third_party=not no_plugins)
    leaks = 0
    for request in requests(target, registry, root=root, only=only):
        prepared = lookup(request, registry, Store(store_folder(store)))
        if prepared is None:
            prepare_command = f"mtbench data prepare {target}" + (f" --root {root}" if root else "")
            raise DataError("not prepared", where=f"dataset '{request.name}'", remedy=f"Run `{prepare_command}` first")
        report = check(prepared)
        sheets = []
        folder = Path(out) if out else Path("mtbench-data")
        for images in image_sets(prepared) if prepared.split else ():
            if len(images):
                sheets.append(folder / request.name / f"{images.domain}-{images.split}.png")
                contact_sheet(images, sheets[-1])
        leaks += len(report.leaks)
        if as_json:
            record = {"dataset": request.name, **plain(report), "sheets": [str(path) for path in sheets]}
            echo_json(record)
        else:
            _print(request, report, sheets)
    return 1 if leaks else 0


@command.command("export", cls=Verb)
@click.argument("target")
@click.option("-o", "--out", required=True, metavar="DIR", help="A folder that does not exist yet.")
@click.option(
    "--side",
    type=click.Choice(("train", "validation", "test", "all")),
    default="test",
    show_default=True,
    help="Split to export.",
)
@click.option(
    "--domain",
    type=click.Choice(("source", "target")),
    default="source",
    show_default=True,
    help="Domain to export.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("png", "npy", "nifti")),
    help="Slices (png, npy) or volumes in the original geometry (nifti). Default: png, or npy for float32.",
)
@_ROOT
@_ONLY
@click.option("--accept-licence", is_flag=True, help="Accept the licence without a prompt.")
@_STORE
@plugin_options
def export_dataset(
    target: str,
    out: str,
    side: Side,
    domain: Domain,
    form: Form | None,
    root: str | None,
    only: tuple[str, ...],
    accept_licence: bool,
    store: str | None,
    plugin_files: tuple[str, ...],
    no_plugins: bool,
) -> None:
    """Write the prepared slices and masks of TARGET, and a manifest, for use with another program.

    TARGET is as in `mtbench data prepare`; it is prepared first if necessary. The translator `precomputed` reads the
    translations of the exported slices.

    Examples:
        mtbench data export knees.toml -o for-my-model
        mtbench data export phantom-lumbar:size=64 -o volumes --format nifti
    """
    registry = discover(plugin_files, third_party=not no_plugins)
    dataset_requests = requests(target, registry, root=root, only=only)
    artefact_store = Store(store_folder(store))
    for request in dataset_requests:
        _licence(request.choice.spec, Licences(artefact_store.root), accept_licence)
        folder = expand(out) / request.name if len(dataset_requests) > 1 else expand(out)
        watcher = make_progress(Screen(stderr=True))
        watcher.begin(2)
        try:
            prepared = prepare(request, registry, artefact_store, watcher)
        finally:
            watcher.end()
        manifest = export(prepared, folder, domain=domain, side=side, form=form)
        _print_exported(manifest, folder)


def _print_exported(manifest: Manifest, folder: Path) -> None:
    height, width = manifest.slices[0].size
    files = len({item.image for item in manifest.slices})
    masks = "with masks" if manifest.slices[0].mask else "without masks"
    echo(
        f"{manifest.dataset}: {_number(len(manifest.slices), f'{manifest.domain} slice')} of '{manifest.side}', "
        f"{height} x {width}, {masks}, in {_number(files, 'file')} below {folder / 'images'}"
    )
    echo(f"  manifest: {folder / MANIFEST}")


def _licence(spec: DatasetSpec, licences: Licences, accept: bool) -> None:
    if licences.accepted(spec):
        return
    echo(f"Licence of '{spec.name}': {spec.licence}", err=True)
    if spec.citation:
        echo(f"Cite: {spec.citation}", err=True)
    if not accept:
        if not sys.stdin.isatty():
            raise RequestError(
                f"the licence of '{spec.name}' has not been accepted: {spec.licence}",
                remedy="If you accept it, use --accept-licence",
            )
        click.confirm("Do you accept it?", abort=True, err=True)
    licences.accept(spec)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def _print_outcome(prepared: PreparedDataset) -> None:
    info = prepared.data.info
    for note in info.get("notes", ()):
        echo(f"  {note}")
    counts = ", ".join(
        f"{_number(info['slices'].get(domain, 0), f'{domain} slice')} of "
        + _number(info["patients"].get(domain, 0), "patient")
        for domain in ("source", "target")
    )
    left_out = _number(len(info.get("left_out", ())), "case")
    state = "prepared" if prepared.is_new else "already prepared"
    echo(f"{prepared.request.name}: {state}; {counts}; {left_out} left out")
    if prepared.split and prepared.split.info.get("remark"):
        echo(f"  {prepared.split.info['remark']}")
    if prepared.trouble:
        echo(f"  not split yet: {prepared.trouble}")


def _show(spec: DatasetSpec) -> None:
    echo(f"{spec.name}: {spec.description}")
    lines = [
        ("task", f"{spec.source} to {spec.target}"),
        ("channels", ", ".join(spec.channels)),
        ("revision", spec.revision),
        ("access", spec.access),
        ("licence", spec.licence),
        ("size", spec.size),
        ("obtain", spec.obtain),
        ("cite", spec.citation),
    ]
    for domain, by_split in spec.published.items():
        counts = ", ".join(f"{split} {count}" for split, count in by_split.items())
        lines.append(("published", f"{domain} slices: {counts}"))
    lines += [("unverified", sentence) for sentence in spec.unverified]
    for title, text in lines:
        if text:
            echo(f"  {title + ':':<12}{text}")


def _print(request: DatasetRequest, report: CheckReport, sheets: Sequence[Path]) -> None:
    console = Screen()
    table = Table(box=None, padding=(0, 2, 0, 0), title=escape(request.name), title_justify="left")
    for header in ("domain", "split", "slices", "published", "patients"):
        table.add_column(header, justify="left" if header in ("domain", "split") else "right")
    for count in report.counts:
        published = "" if count.published is None else count.published
        row = (f"{count.domain} ({count.name})", count.split, count.slices, published, count.patients)
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)
    lines = [("leak", text) for text in report.leaks]
    lines += [("look", text) for text in report.remarks]
    lines += [("skipped", f"{item['case']}: {item['reason']}") for item in report.left_out]
    lines += [("note", text) for text in report.notes]
    lines += [("sheet", str(path)) for path in sheets]
    for kind, text in lines:
        console.print(f"  {kind + ':':<10}{text}", markup=False, highlight=False, soft_wrap=True)
    if not report.leaks:
        console.print("  No leaks.", highlight=False)
