"""Adopts a model trained elsewhere as a fit of a suite."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mtbench.engine.maker import Maker
from mtbench.engine.record import ancestors
from mtbench.errors import DataError, MtbenchError, RequestError
from mtbench.plan import Plan
from mtbench.registry.basespec import Spec
from mtbench.registry.contracts import Trainable
from mtbench.registry.registry import Registration, Registry
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import MANIFEST, Artefact, Store
from mtbench.store.files import irregular, irregular_below, sha256_of
from mtbench.store.leases import confirm


def adopt(
    plan: Plan,
    registry: Registry,
    store: Store,
    kind: str,
    what: Path,
    *,
    replace: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Artefact:
    """Commit ``what`` as the artefact of the plan's one fit of a ``kind`` ("translator" or "segmenter").

    Args:
        plan: a plan, narrowed until it contains one such fit.
        registry, store: the plugins, and the destination.
        kind: of the plugin that the fit belongs to.
        what: a folder as the plugin's ``save`` writes it, or its only file.
        replace: replace an existing fit.
        note: called with a message if another run computes the same fit; this call then waits.

    Raises:
        RequestError: the plan contains no such fit, or several; the fit exists; the data are not prepared.
        DataError: the plugin cannot load ``what``.
    """
    unit = _the_fit(plan, kind)
    files = _files(what)
    maker = Maker(plan, registry, store)
    try:
        _find_inputs(plan, unit, maker)
        lease = maker.wait(unit, note, fresh=replace)
        if isinstance(lease, Artefact):
            raise RequestError(f"{unit.name} is already in the store", remedy="Use --replace to replace it")
        registration = registry.get(unit.kind, unit.plugin)
        job = maker.job(unit, lease)
        info = {
            "notes": ["trained elsewhere and adopted"],
            "adopted": {name: sha256_of(path) for name, path in files.items()},
        }

        def check() -> None:
            confirm(lease)
            store.drop("fit", job.address)

        with store.create("fit", job.address, job.manifest(registration.spec.revision), info, check) as folder:
            for name, path in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
            _check_loads(unit, registration, folder, what)
        return maker.settle(unit)
    finally:
        maker.close()


def _the_fit(plan: Plan, kind: str) -> Unit:
    fits = [unit for unit in plan.units.values() if unit.stage == "fit" and unit.kind == kind]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise RequestError(
            f"no {kind} in this plan is trained",
            where=f"suite '{plan.suite.name}'",
            remedy="Select a translator that trains (-t), or a segmenter (-s) with a metric that needs one",
        )
    raise RequestError(
        f"the selection matches {len(fits)} fits: " + "; ".join(unit.name for unit in fits[:6]),
        where=f"suite '{plan.suite.name}'",
        remedy="Select one of them with -d, -t or -s, and --seed",
    )


def _find_inputs(plan: Plan, unit: Unit, maker: Maker) -> None:
    above = {other.key for other in ancestors(plan, unit)}
    for key, other in plan.units.items():
        if key in above and maker.find(other) is None:
            raise RequestError(
                f"'{other.name}' is not computed yet, and the fit depends on it",
                where=f"suite '{plan.suite.name}'",
                remedy="Prepare the data first: `mtbench data prepare`, or run a translator that is not trained",
            )


def _files(what: Path) -> dict[str, Path]:
    if what.is_file():
        return {what.name: what.resolve()}
    if not what.is_dir():
        raise RequestError(f"{what} does not exist", expected="a file or a folder that the plugin saved")
    for entry in irregular_below(what):
        raise irregular(entry)
    # The folder of a fit from another store contains a manifest and a log.
    files = {
        path.relative_to(what).as_posix(): path
        for path in sorted(what.rglob("*"))
        if path.is_file() and path.relative_to(what).parts[0] not in (MANIFEST, "log")
    }
    if not files:
        raise RequestError(f"{what} contains no files", expected="what the plugin's save() writes")
    return files


def _check_loads(unit: Unit, registration: Registration[Spec[Trainable]], folder: Path, what: Path) -> None:
    try:
        registration.create(unit.arguments).load(folder)
    except MtbenchError:
        raise
    except Exception as error:
        raise DataError(
            f"{unit.kind} '{unit.plugin}' cannot load the files: {type(error).__name__}: {error}",
            where=str(what),
            expected="the files that its save() writes with the suite's parameters",
        ) from error
