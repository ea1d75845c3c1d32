"""The work of one unit: read its inputs, run its stage, commit its artefact. The same code for every executor."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mtbench.compute.checkpoints import Checkpoints
from mtbench.compute.context import Context
from mtbench.compute.inference import limit_blas, peak_memory_mb, prepare_torch, resolve_device
from mtbench.compute.seeds import derive
from mtbench.engine.job import Job, Outcome, manifest_of, task_from_dict
from mtbench.errors import MtbenchError, PluginError, RequestError, StoreError
from mtbench.registry.codeid import code_identity
from mtbench.registry.discovery import Registry, load_one
from mtbench.stages.work import Work
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.files import temporary_prefix, write_whole
from mtbench.store.hashes import Hashes
from mtbench.store.leases import confirm

Report = Callable[[int, int, Mapping[str, Any]], None]
_LIGHT = ("prepare", "split")


def execute(job: Job, registry: Registry | None, report: Report = lambda done, total, figures: None) -> Outcome:
    """Run one job to its end; whatever goes wrong becomes an outcome, never an exception of this function.

    Args:
        job: what to do.
        registry: the plugins; with ``None`` the one that the job names is loaded, and no other.
        report: told how far it is.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()
    info: dict[str, Any] = {}
    digest = ""
    failure: dict[str, Any] = {"status": "ok"}
    light = job.unit["stage"] in _LIGHT
    device = "cpu"
    try:
        if registry is None and job.plugin:
            registry = _load(job)
        if not light:
            device = resolve_device(job.device or None)
        artefact = _run(job, registry, device, report, info)
        digest = artefact.digest
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failure = describe_failure(error)
    seconds = time.monotonic() - clock
    return Outcome(
        key=job.key,
        digest=digest,
        seconds=round(seconds, 3),
        images=info.get("images"),
        peak_memory_mb=None if light else round(peak_memory_mb(device), 1),
        device=device,
        started=started,
        info=info,
        **failure,
    )


def execute_file(unit: Path) -> Outcome:
    """Run the job in the file ``unit`` and leave its outcome, whole, beside it; see :func:`outcome_file`.

    While it is at work the file of :func:`progress_file` says how far it is.

    Raises:
        StoreError: the outcome cannot be written.
        RequestError: the file is no job.
    """
    try:
        job = Job.from_json(unit.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise RequestError(
            f"this is no unit file: {error}", where=str(unit), expected="one that a run wrote"
        ) from error
    outcome = execute(job, None, Told(progress_file(unit)))
    write_whole(outcome_file(unit), lambda file: file.write(outcome.to_json().encode()))
    return outcome


def outcome_file(unit: Path) -> Path:
    """Where the outcome of the job in the file ``unit`` is left."""
    return unit.with_suffix(".outcome.json")


def progress_file(unit: Path) -> Path:
    """Where the job in the file ``unit`` tells how far it is: ``[done, total, figures]``."""
    return unit.with_suffix(".progress.json")


def read_progress(unit: Path) -> tuple[int, int, Mapping[str, Any]] | None:
    """What stands in :func:`progress_file`: done, total, figures; ``None`` where nothing does."""
    try:
        done, total, figures = json.loads(progress_file(unit).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return done, total, figures


class Told:
    """Keeps the last progress in a file, written at most twice a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0.0

    def __call__(self, done: int, total: int, figures: Mapping[str, Any]) -> None:
        """Note it, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last < 0.5:
            return
        self._last = now
        with contextlib.suppress(OSError, TypeError):
            partial = self._path.with_suffix(".part")
            partial.write_text(json.dumps([done, total, dict(figures)], default=str), encoding="utf-8")
            partial.replace(self._path)


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Status, reason, type and traceback of an exception."""
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if isinstance(error, MtbenchError):
        reason = str(error)
    elif memory:
        reason = "Out of memory, even with one image a batch. Use a smaller model or image size, or a larger device."
    else:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
        reason = f"{type(error).__name__}: {error}{at}"
    return {
        "status": "oom" if memory else "error",
        "reason": reason,
        "error_type": type(error).__name__,
        "log": "".join(traceback.format_exception(error)),
    }


def _load(job: Job) -> Registry:
    """The plugin as it was when the run was planned."""
    found = load_one(job.plugin)
    registered = found.get(job.unit["kind"], job.unit["plugin"])
    if code_identity(registered) != job.code:
        raise PluginError(
            "its code has changed since the run was started",
            where=f"{job.unit['kind']} '{job.unit['plugin']}' of {registered.plugin.origin}",
            remedy="Run the same command again",
        )
    return found


def _run(job: Job, registry: Registry | None, device: str, report: Report, info: dict[str, Any]) -> Artefact:
    unit = job.unit
    stage = importlib.import_module(f"mtbench.stages.{unit['stage']}")
    store = Store(Path(job.store))
    inputs: dict[str, Artefact] = {}
    for role, (of, address) in job.inputs.items():
        found = store.get(of, address)
        if found is None:
            raise StoreError(
                f"the artefact for '{role}' has gone from the store",
                where=str(store.root),
                remedy="Run again",
            )
        inputs[role] = found
    registered = registry.get(unit["kind"], unit["plugin"]) if registry and unit["plugin"] else None
    partial = store.scratch(job.address)
    scratch = Path(tempfile.mkdtemp(prefix=temporary_prefix()))
    context = Context(
        task=task_from_dict(unit["task"]),
        params=unit["params"],
        seed=unit["seed"] if unit["seed"] is not None else 0,
        device=device,
        precision=unit["precision"],
        threads=unit["threads"],
        batch_size=job.batch_size,
        scratch=scratch,
        progress=report,
        checkpoints=Checkpoints(partial) if unit["stage"] == "fit" else None,
        partial=partial if unit["stage"] == "prepare" else None,
        events=Path(job.events) if job.events else None,
        find_weights=_find_weights,
    )
    if unit["stage"] in _LIGHT:
        limit_blas(unit["threads"])
    else:
        _seed_everything(job)
    work = Work(
        name=unit["name"],
        params={**unit["params"], **{k: v for k, v in unit["paths"].items() if k in unit["params"]}},
        paths=unit["paths"],
        options=unit["options"],
        seed=unit["seed"],
        inputs=inputs,
        registered=registered,
        task=context.task or task_from_dict(unit["task"]),
        context=context,
        strict=job.strict,
    )
    try:
        manifest = manifest_of(job, registered)
        with store.create(unit["stage"], job.address, manifest, info, lambda: confirm(job.lease)) as folder:
            info.update(stage.run(work, folder))
        if context.digests:
            with contextlib.closing(Hashes(store.root / "hashes.sqlite")) as hashes:
                hashes.remember(context.digests)
        shutil.rmtree(partial, ignore_errors=True)
    except Exception:
        # Whoever has taken the unit over removes its partial results at the end.
        confirm(job.lease)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    committed = store.get(unit["stage"], job.address)
    assert committed is not None
    return committed


def _find_weights(name: str) -> Path:
    from mtbench.compute.weights import find

    return find(name)


def _seed_everything(job: Job) -> None:
    """Plugins should draw from the context; one that does not still starts from the same place every time."""
    import random

    import numpy as np
    import torch

    prepare_torch(job.unit["precision"], job.unit["threads"])
    seed = derive(job.address)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
