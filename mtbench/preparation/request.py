"""Data sets prepared without a run: the same units, at the same addresses, as in a suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mtbench.data import Task
from mtbench.engine.maker import Maker
from mtbench.engine.scheduler import Watcher
from mtbench.engine.worker import execute
from mtbench.errors import DataError, DiskFullError, LeaseLostError, RequestError, warn
from mtbench.plan import Plan
from mtbench.plan.builder import Builder
from mtbench.plan.choices import Choice, choices
from mtbench.plan.suite import Entry, Suite, load_suite
from mtbench.registry.registry import Registry
from mtbench.registry.specs import DatasetSpec
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact, Store


@dataclass(frozen=True)
class DatasetRequest:
    """One data set to prepare.

    Attributes:
        choice: the plugin with its parameters and paths.
        builder: its plan, with a prepare and a split unit.
    """

    choice: Choice[DatasetSpec]
    builder: Builder

    @property
    def name(self) -> str:
        """Its name in the suite or on the command line."""
        return self.choice.entry.name

    @property
    def task(self) -> Task:
        """Its task."""
        return self.builder.task


@dataclass(frozen=True)
class PreparedDataset:
    """A data set in the store.

    Attributes:
        request: the data set as named by the suite or the user.
        data, split: the artefacts; ``split`` is ``None`` if the patients could not be divided, and ``trouble`` says
            why.
        is_new: whether it was prepared or divided by this call.
    """

    request: DatasetRequest
    data: Artefact
    split: Artefact | None
    is_new: bool
    trouble: str = ""


def requests(
    target: str, registry: Registry, *, root: str | None = None, only: Sequence[str] = ()
) -> list[DatasetRequest]:
    """The data sets that ``target`` names: a data set (``name``, ``name:p=v,...``), or all data sets of a suite.

    Args:
        target: as typed; a suite is a file ending in .toml, or a registered name that is not a data set's.
        registry: the plugins.
        root: the folder of the raw files, for a data set named directly.
        only: of a suite, these data sets.

    Raises:
        RequestError: there is no such data set or suite, or a parameter that it needs is missing.
    """
    entry = Entry.of(target, f"'{target}'", typed=True)
    name = entry.name
    if target.endswith(".toml") or (name in registry.names("suite") and name not in registry.names("dataset")):
        suite = load_suite(target, registry, needs=("datasets",))
        if root is not None:
            raise RequestError(
                "--root is only for a data set named directly",
                remedy="The suite sets the root of its data sets; omit --root",
            )
        suite = suite.select(datasets=only)
    else:
        if only:
            raise RequestError("-d selects data sets of a suite", expected="the name of a suite before it")
        registry.get(DatasetSpec, name)
        if root:
            entry = replace(entry, root=root, cli_params=entry.cli_params | {"root"})
        suite = Suite(name="data", folder=Path.cwd(), datasets=(entry,), translators=())
    result = []
    for choice in choices(DatasetSpec, suite.datasets, suite, registry):
        fold = 0 if choice.entry.split and choice.entry.split.by == "folds" else None
        result.append(DatasetRequest(choice, Builder.start(suite, registry, Plan(suite), choice, fold)))
    return result


def lookup(request: DatasetRequest, registry: Registry, store: Store) -> PreparedDataset | None:
    """The data set if it is in the store, else ``None``. Raw files are hashed, no pixel is decoded."""
    return _prepared(request, registry, store)


def prepare(
    request: DatasetRequest, registry: Registry, store: Store, watcher: Watcher, *, strict: bool = False
) -> PreparedDataset:
    """Prepare and split a data set, unless it is cached.

    Args:
        request, registry, store: the data set, the plugins and the store.
        watcher: shows progress.
        strict: refuse to skip any case.

    Raises:
        DataError: it cannot be prepared; under ``strict``, also if cases had to be skipped.
        DiskFullError: the disk has no room; converted cases are kept for the next attempt.
    """
    prepared = _prepared(request, registry, store, watcher, strict=strict)
    assert prepared is not None
    left_out = prepared.data.info.get("left_out", [])
    if strict and left_out:
        raise DataError(
            f"{len(left_out)} case{'s' if len(left_out) != 1 else ''} cannot be used: "
            + "; ".join(f"{item['case']}: {item['reason']}" for item in left_out),
            where=f"dataset '{request.name}', prepared before",
            remedy="Fix them, or rerun without --strict",
        )
    return prepared


def _prepared(
    request: DatasetRequest, registry: Registry, store: Store, watcher: Watcher | None = None, *, strict: bool = False
) -> PreparedDataset | None:
    """Data set and split; without a ``watcher``, only of a data set that is in the store."""
    plan = request.builder.plan
    data_unit, split_unit = (plan.units[request.builder.base[part]] for part in ("data", "split"))
    note = watcher.note if watcher else warn
    maker = Maker(plan, registry, store, read_here=("prepare", "split"), note=note)
    make = partial(make_unit, maker, registry, watcher, strict=strict)
    try:
        data, data_is_new, trouble = make(data_unit) if watcher else (maker.find(data_unit), False, "")
        if trouble:
            raise DataError(trouble)
        if data is None:
            return None
        split, split_is_new, trouble = make(split_unit)
    finally:
        maker.close()
    return PreparedDataset(request, data, split, data_is_new or split_is_new, trouble)


def make_unit(
    maker: Maker,
    registry: Registry,
    watcher: Watcher | None,
    unit: Unit,
    *,
    device: str = "cpu",
    strict: bool = False,
) -> tuple[Artefact | None, bool, str]:
    """The artefact, whether it was computed by this call, and why it is absent."""
    while True:
        state = maker.wait(unit, watcher.note if watcher else lambda text: None)
        if isinstance(state, Artefact):
            return state, False, ""
        job = replace(maker.job(unit, state), device=device, strict=strict)
        if watcher is None:
            outcome = execute(job, registry)
        else:
            watcher.started(unit)
            outcome = execute(job, registry, watcher.report)
            watcher.finished(unit, outcome.status, "", outcome.seconds)
        if outcome.error_type == LeaseLostError.__name__:
            continue
        if outcome.error_type == DiskFullError.__name__:
            raise DiskFullError(outcome.reason)
        if outcome.status != "ok":
            return None, False, outcome.reason
        artefact = maker.settle(unit)
        maker.release(unit)
        return artefact, True, ""
