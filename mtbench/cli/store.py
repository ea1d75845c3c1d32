"""``mtbench store``: disk usage and clean-up; verify artefacts; adopt models trained elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from mtbench.cli.options import plugin_options, suite_options
from mtbench.cli.verb import Verb
from mtbench.engine.adopt import adopt
from mtbench.engine.amounts import counted, duration, size
from mtbench.engine.request import check_stage
from mtbench.errors import RequestError
from mtbench.plan.request import PlanRequest
from mtbench.results.usage import forget, look, remove, size_of
from mtbench.screen import Screen, echo, echo_json
from mtbench.store.artefacts import DAMAGED, Store
from mtbench.store.folders import store_folder

if TYPE_CHECKING:
    from mtbench.results.usage import StoredArtefact, Usage

_STORE = click.option("--store", metavar="DIR", help="Store of artefacts (default: MTBENCH_STORE or the cache folder).")


@click.group("store")
def command() -> None:
    """Manage the store of artefacts: prepared data, fits, translations, features, scores."""


@command.command("show", cls=Verb)
@_STORE
@click.option("--all", "everything", is_flag=True, help="List every artefact, largest first.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(store: str | None, everything: bool, as_json: bool) -> None:
    """Show disk usage, which results use which artefacts, and what can be deleted.

    Examples:
        mtbench store show
        mtbench store show --all
    """
    root = store_folder(store)
    usage = look(Store(root))
    if as_json:
        echo_json(_as_json(root, usage))
        return
    console = Screen()
    console.print(f"{root}", markup=False, highlight=False, soft_wrap=True)
    if not usage.artefacts:
        console.print("The store is empty.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for header in ("stage", "artefacts", "size", "compute time", "unused"):
        table.add_column(header, justify="left" if header == "stage" else "right")
    unused = usage.unused()
    for stage in dict.fromkeys(k.stage for k in usage.artefacts):
        of = [k for k in usage.artefacts if k.stage == stage]
        table.add_row(Text(stage), str(len(of)), _size(of), _time(of), _size(k for k in unused if k.stage == stage))
    table.add_row(
        "[bold]all[/]", str(len(usage.artefacts)), _size(usage.artefacts), _time(usage.artefacts), _size(unused)
    )
    console.print(table)
    users = Table(box=None, padding=(0, 2, 0, 0))
    users.add_column("used by", overflow="fold")
    users.add_column("size", justify="right")
    users.add_column("by no other", justify="right")
    for where in sorted({user for k in usage.artefacts for user in k.users}):
        mine = [k for k in usage.artefacts if where in k.users]
        users.add_row(Text(where), _size(mine), _size(k for k in mine if k.users == [where]))
    if users.row_count:
        console.print(users)
    if everything:
        _list(usage.artefacts, console)
    _print_state(usage, unused, console)


@command.command("prune", cls=Verb)
@_STORE
@click.option("--keep", multiple=True, metavar="STAGE", help="Keep the artefacts of a stage, such as fit; repeatable.")
@click.option("--forget-missing", is_flag=True, help="Also delete artefacts that only missing results directories use.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
def prune(store: str | None, keep: tuple[str, ...], forget_missing: bool, dry_run: bool, yes: bool) -> int:
    """Delete artefacts that no results directory uses, leftovers of killed runs, and damaged artefacts.

    Artefacts younger than an hour and those of active runs are kept. Data from `mtbench data prepare` and fits from
    `mtbench store adopt` count as unused until a run uses them: keep them with --keep prepare and --keep fit.

    Examples:
        mtbench store prune --dry-run
        mtbench store prune --keep fit --yes
    """
    for stage in keep:
        check_stage(stage)
    place = Store(store_folder(store))
    usage = look(place)
    _refuse_unknown_users(place, usage, forget_missing)
    going = usage.unused(keep)
    console = Screen()
    if not going and not usage.leftovers:
        spared = ", or kept by --keep" if keep else ""
        console.print(f"Nothing to delete: all artefacts are in use, or younger than an hour{spared}.")
        return 0
    if going:
        _list(going, console)
        console.print(f"{counted(len(going), 'artefact')}, {_size(going)}", highlight=False)
    if usage.leftovers:
        console.print(_leftovers(usage), highlight=False)
    if dry_run or not (yes or click.confirm("Delete them?")):
        return 0
    # A run may have started to use some while the prompt was open.
    now = look(place)
    _refuse_unknown_users(place, now, forget_missing)
    addresses = {artefact.address for artefact in going}
    failures = remove(
        place,
        [artefact for artefact in now.unused(keep) if artefact.address in addresses],
        [path for path in now.leftovers if path in usage.leftovers],
    )
    forget(place, now.missing)
    for failure in failures[:10]:
        echo(f"not deleted: {failure}", err=True)
    console.print(f"{counted(len(failures), 'entry', 'entries')} could not be deleted." if failures else "Deleted.")
    return 1 if failures else 0


def _refuse_unknown_users(place: Store, usage: Usage, forget_missing: bool) -> None:
    for where, reason in usage.unreadable.items():
        raise RequestError(
            f"a results directory cannot be read, so the artefacts that it uses are unknown: {reason}",
            where=where,
            remedy="Repair or delete it; `mtbench results verify` gives details",
        )
    if usage.missing and not forget_missing:
        raise RequestError(
            "results directories that used this store are missing: " + ", ".join(usage.missing),
            where=str(place.root),
            remedy="If you moved them, run their suites once with --out at the new location. Then use "
            "--forget-missing, which deletes artefacts that only missing results directories use",
        )


@command.command("verify", cls=Verb)
@_STORE
def verify(store: str | None) -> int:
    """Read every file in the store and list damaged and missing files.

    The exit code is 1 if a file is damaged or missing.

    Runs also check the files that they read, but reread a file only if its size, times or inode have changed. This
    command detects silent changes on disk; later runs then know of them.

    Examples:
        mtbench store verify
    """
    place = Store(store_folder(store))
    checked = list(place.verify())
    faults = [error for _, error in checked if error is not None]
    for error in faults:
        click.echo(f"{error.where}: {error.what}")
    if faults:
        click.echo("A run that needs one of them recomputes it; a fit only with --rerun UNIT or --fresh fit.")
    click.echo(f"{len(checked)} artefacts, {len(faults)} damaged")
    return 1 if faults else 0


@command.command("adopt", cls=Verb)
@click.argument("suite")
@click.argument("what", metavar="FILE-OR-FOLDER", type=click.Path(path_type=Path))
@suite_options
@click.option("--replace", is_flag=True, help="Replace an existing fit.")
@plugin_options
def adopt_fit(suite: str, what: Path, replace: bool, **options: object) -> int:
    """Use a model trained elsewhere as the fit of a translator (-t) or segmenter (-s) of SUITE.

    FILE-OR-FOLDER has the format that the plugin's save() writes, such as the folder of a fit in another store. It is
    loaded once as a check, and rows that use it record its digest.

    Examples:
        mtbench store adopt mine.toml trained/cyclegan -t cyclegan
        mtbench store adopt mine.toml trained/unet -s unet -d knees --replace
    """
    request = PlanRequest.of(suite, options)
    registry = request.registry()
    kind = "segmenter" if request.segmenters and not request.translators else "translator"
    note = partial(echo, err=True)
    plan = request.plan(registry, note)
    artefact = adopt(plan, registry, Store(store_folder(request.store)), kind, what, replace=replace, note=note)
    echo(f"adopted as: {artefact.manifest['unit']['name']}")
    echo(f"digest:     {artefact.digest}")
    return 0


def _list(artefacts: Iterable[StoredArtefact], console: Screen) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("artefact", overflow="fold")
    for header in ("size", "compute time", "users"):
        table.add_column(header, justify="right")
    for k in sorted(artefacts, key=lambda k: -k.bytes):
        table.add_row(Text(k.name), size(k.bytes), _time([k]), str(len(k.users)))
    console.print(table)


def _print_state(usage: Usage, unused: list[StoredArtefact], console: Screen) -> None:
    for where, reason in usage.unreadable.items():
        console.print(f"cannot be read: {where}: {reason}", style="yellow", highlight=False, markup=False)
    if usage.missing:
        console.print("missing: " + ", ".join(usage.missing), style="yellow", highlight=False, markup=False)
    if usage.leftovers:
        console.print(_leftovers(usage), highlight=False)
    if usage.unreadable:
        console.print("mtbench store prune deletes nothing until this directory is readable", highlight=False)
    elif unused or usage.leftovers:
        option = " --forget-missing" if usage.missing else ""
        freed = size(sum(k.bytes for k in unused) + sum(map(size_of, usage.leftovers)))
        console.print(f"mtbench store prune{option} would free {freed}", highlight=False)


def _leftovers(usage: Usage) -> str:
    """The number of leftovers of each kind, and their size."""
    kinds = Counter(path.parent.name if path.parent.name in ("partial", DAMAGED) else "" for path in usage.leftovers)
    texts = {
        "": ("leftover of a killed run", "leftovers of killed runs"),
        "partial": (
            "checkpoint that no results directory needs",
            "checkpoints that no results directory needs",
        ),
        DAMAGED: ("damaged artefact", "damaged artefacts"),
    }
    parts = [counted(kinds[kind], *words) for kind, words in texts.items() if kinds[kind]]
    return f"{', '.join(parts)}, {size(sum(map(size_of, usage.leftovers)))}"


def _as_json(root: Path, usage: Usage) -> dict[str, object]:
    unused = {k.address for k in usage.unused()}
    shown = ("stage", "address", "name", "bytes", "seconds", "users")
    return {
        "store": str(root),
        "missing": list(usage.missing),
        "unreadable": dict(usage.unreadable),
        "leftovers": len(usage.leftovers),
        "artefacts": [
            {**{name: getattr(k, name) for name in shown}, "can_go": k.address in unused} for k in usage.artefacts
        ],
    }


def _size(artefacts: Iterable[StoredArtefact]) -> str:
    return size(sum(k.bytes for k in artefacts))


def _time(artefacts: Iterable[StoredArtefact]) -> str:
    """The time that it took to compute them, as far as it is known."""
    known = [k.seconds for k in artefacts if k.seconds is not None]
    return duration(sum(known)) if known else "unknown"
