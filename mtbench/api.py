"""Running a suite, as the command line and a notebook do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mtbench.compute.folders import store_folder
from mtbench.compute.inference import check_device
from mtbench.engine.executor import Executor
from mtbench.engine.observers import Observers
from mtbench.engine.preflight import preflight
from mtbench.engine.progress import PlainProgress, make_progress
from mtbench.engine.request import request
from mtbench.engine.scheduler import RunOptions, Scheduler, Summary
from mtbench.errors import RequestError, close_matches
from mtbench.plan import Plan, make_plan
from mtbench.plan.choices import programs
from mtbench.plan.suite import load_suite
from mtbench.registry.discovery import Registry, discover
from mtbench.registry.params import parse_call
from mtbench.results.directory import Results
from mtbench.stages import STAGES
from mtbench.store.artefacts import Store
from mtbench.store.usage import remember

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Finished:
    """A run that is over: its plan, its results directory and what was done."""

    plan: Plan
    results: Results
    summary: Summary


def plan(
    suite: str,
    *,
    registry: Registry,
    translators: Sequence[str] = (),
    datasets: Sequence[str] = (),
    segmenters: Sequence[str] = (),
    metrics: Sequence[str] = (),
    seeds: Sequence[int] = (),
    precision: str | None = None,
    settings: Sequence[str] = (),
    trust_suite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """The plan of a suite, narrowed as on the command line.

    ``trust_suite`` lets the suite file name programs; ``say`` is told which, line by line.

    Raises:
        RequestError: the suite or a selection is wrong.
    """
    chosen = load_suite(suite, registry, settings).select(
        translators=translators,
        datasets=datasets,
        segmenters=segmenters,
        metrics=metrics,
        seeds=seeds,
        precision=precision,
    )
    named = programs(chosen, registry) if trust_suite else []
    if named:
        say("This suite names programs, and --trust-suite lets it run them:")
        for line in named:
            say(f"  {line}")
    return make_plan(replace(chosen, trusted=trust_suite), registry)


def run(
    suite: str,
    *,
    out: str | None = None,
    store: str | None = None,
    device: str | None = None,
    executor: str = "local",
    jobs: int | None = None,
    timeout: float | None = None,
    memory_gb: float | None = None,
    batch_size: int = 8,
    fresh: Sequence[str] = (),
    rerun: Sequence[str] = (),
    quiet: bool = False,
    plugin_files: Sequence[str] = (),
    no_plugins: bool = False,
    console: Console | None = None,
    translators: Sequence[str] = (),
    datasets: Sequence[str] = (),
    segmenters: Sequence[str] = (),
    metrics: Sequence[str] = (),
    seeds: Sequence[int] = (),
    precision: str | None = None,
    settings: Sequence[str] = (),
    config: str | None = None,
    trust_suite: bool = False,
) -> Finished:
    """Run a suite.

    Args:
        suite: a file or a registered name.
        out: results directory; ``mtbench-results/SUITE`` by default.
        store: artefact store; ``MTBENCH_STORE`` or the user's cache folder by default.
        device: a torch device; the GPU if there is one by default.
        executor: name of an executor plugin, with its parameters as on the command line.
        jobs: units at once; short for the executor's parameter of that name.
        timeout, memory_gb: seconds and resident memory (GB = 1e9 bytes) that a unit may take; then it is stopped.
        batch_size: of inference; changes no result beyond rounding.
        fresh: stages to make anew.
        rerun: "failed" (what is done anyway), "all", or units to make anew, by key (8 characters suffice) or name.
        quiet: show failures only.
        plugin_files, no_plugins: as ``--plugin`` and ``--no-plugins``.
        console: where progress goes; standard error by default.
        translators, datasets, segmenters, metrics, seeds, precision, settings: as on the command line.
        config: your own ``mtbench.toml``, where it is not in its usual place.
        trust_suite: let the suite file name programs; they are shown before anything runs.

    Raises:
        RequestError: the request is wrong. Failing units raise nothing: see ``Finished.summary``.
        KeyboardInterrupt: the user interrupted; what was finished is in the results.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    for stage in fresh:
        if stage not in STAGES:
            raise RequestError(
                f"there is no stage '{stage}'",
                expected="one of " + ", ".join(STAGES),
                matches=close_matches(stage, STAGES),
            )
    if device:
        check_device(device)
    registry = discover(plugin_files, third_party=not no_plugins, config=config, careful=True)
    _refuse_broken_files(registry)
    made = plan(
        suite,
        registry=registry,
        translators=translators,
        datasets=datasets,
        segmenters=segmenters,
        metrics=metrics,
        seeds=seeds,
        precision=precision,
        settings=settings,
        trust_suite=trust_suite,
        say=partial(console.print, markup=False, highlight=False, soft_wrap=True),
    )
    runner = _executor(registry, executor, jobs, limited=bool(timeout or memory_gb))
    name = parse_call(executor)[0]
    again = _again(made, rerun)
    artefacts = Store(store_folder(store))
    warn = partial(console.print, style="yellow", markup=False, highlight=False, soft_wrap=True)
    remark = preflight(made, registry, artefacts, runner, device)
    if remark:
        warn(remark)
    results = Results.create(Path(out) if out else Path("mtbench-results") / made.suite.name, made.suite.name)
    observers = Observers(registry, results.path, warn)
    watcher = PlainProgress(Console(quiet=True)) if quiet else make_progress(console)
    options = RunOptions(
        device=device,
        executor=name,
        batch_size=batch_size,
        fresh=frozenset(STAGES if "all" in rerun else fresh),
        again=again,
        timeout=timeout,
        memory_mb=memory_gb * 1e9 / 2**20 if memory_gb else None,
        request=request(
            suite,
            results.path,
            {
                "-t": translators,
                "-d": datasets,
                "-s": segmenters,
                "-m": metrics,
                "--seed": seeds,
                "--precision": [precision] if precision else [],
                "--set": settings,
                "--device": [device] if device else [],
                "--store": [artefacts.root.resolve()] if store else [],
                "--plugin": [str(Path(file).resolve()) for file in plugin_files],
            },
            {"--no-plugins": no_plugins, "--trust-suite": trust_suite},
        ),
    )
    remember(artefacts, results.path)
    with results.writing():
        try:
            summary = Scheduler(made, registry, artefacts, results, runner, options, watcher, observers).run()
        finally:
            tables = results.rebuild()
    if summary.interrupted:
        raise KeyboardInterrupt
    observers.suite_finished(tables)
    return Finished(made, results, summary)


def _executor(registry: Registry, given: str, jobs: int | None, *, limited: bool) -> Executor:
    name, params, positional = parse_call(given)
    spec = registry.get("executor", name).spec
    if positional and spec.shorthand and len(positional) == 1:
        params = {spec.shorthand: positional[0], **params}
    elif positional:
        raise RequestError(f"'{positional[-1]}' has no name", where=f"executor '{name}'", expected=f"{name}:NAME=VALUE")
    if jobs is not None:
        params = {**params, "jobs": jobs}
    made: Executor = registry.get("executor", name).create(registry.complete("executor", name, params))
    if limited and not made.limits:
        raise RequestError(
            f"the executor '{name}' cannot stop a unit",
            where="--timeout, --memory",
            remedy="Leave them out, or choose an executor that runs units in processes of their own",
        )
    return made


def _again(made: Plan, rerun: Sequence[str]) -> frozenset[str]:
    """The keys of the units to make anew."""
    found: set[str] = set()
    for asked in rerun:
        if asked in ("failed", "all"):
            continue
        keys = {
            key for key, unit in made.units.items() if asked == unit.name or (len(asked) >= 8 and key.startswith(asked))
        }
        if not keys:
            raise RequestError(
                f"the plan has no unit '{asked}'",
                where="--rerun",
                expected="'failed', 'all', a unit's name or its key",
                matches=close_matches(asked, [unit.name for unit in made.units.values()]),
            )
        found |= keys
    return frozenset(found)


def _refuse_broken_files(registry: Registry) -> None:
    # Somebody who names a file wants it; an installed plugin that is broken only warns.
    for plugin in registry.plugins:
        if plugin.path is not None and plugin.problem:
            raise RequestError(plugin.problem, where=f"plugin file {plugin.path}", remedy=plugin.remedy.capitalize())
