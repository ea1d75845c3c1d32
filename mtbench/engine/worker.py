"""The execution of one unit: read its inputs, run its stage, commit its artefact. Every executor uses this code."""

from __future__ import annotations

import contextlib
import importlib
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mtbench.compute.checkpoints import Checkpoints
from mtbench.compute.compiling import compiled_within
from mtbench.compute.context import Context
from mtbench.compute.devices import (
    describe_gpu,
    forget_peak,
    host_memory_mb,
    memory_report,
    peak_memory_mb,
    resolve_device,
)
from mtbench.compute.inference import prepare_torch
from mtbench.compute.memory import out_of_memory
from mtbench.compute.seeds import derive
from mtbench.compute.weights import find
from mtbench.engine.job import Input, Job, Outcome
from mtbench.engine.unitfile import ProgressFile, read_job, write_outcome
from mtbench.errors import DamagedError, MtbenchError, PluginError, silent
from mtbench.registry.codeid import code_identity, imported_code, loaded_elsewhere
from mtbench.registry.discovery import load_one
from mtbench.registry.plugin import PluginReference
from mtbench.registry.registry import Registry
from mtbench.stages.table import STAGES
from mtbench.stages.work import Work
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.files import telling, temporary_prefix
from mtbench.store.hashes import Hashes
from mtbench.store.leases import confirm

ProgressReport = Callable[[str, int, int, Mapping[str, object]], None]


def execute(job: Job, registry: Registry | None, report: ProgressReport = lambda *progress: None) -> Outcome:
    """Run one job to its end; every error becomes an outcome, never an exception of this function.

    Args:
        job: the job.
        registry: the plugins; with ``None`` only the plugin that the job names is loaded.
        report: ``report(key, done, total, figures)`` shows the progress.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()
    info: dict[str, Any] = {}
    outcome = Outcome(job.unit.key, "ok")
    light, on_device = STAGES[job.unit.stage].exact, STAGES[job.unit.stage].uses_device
    alone = registry is None
    device = "cpu"
    try:
        if registry is None and job.plugin:
            registry = _load(job, job.plugin)
        if on_device:
            # Only these: a score computed on a node without a GPU needs none, whatever device was requested.
            device = resolve_device(job.device or None)
        # Modules that load a BLAS are imported before threads are limited.
        stage = importlib.import_module(f"mtbench.stages.{job.unit.stage}")
        if light:
            threadpool_limits(job.unit.threads, "blas")  # It uses all cores otherwise.
        else:
            import torch

            forget_peak()
            prepare_torch(job.unit.precision, job.unit.threads)
            # Plugins should draw from the context; one that does not still starts from the same seed every time.
            seed = derive(job.address)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
        artefact = _run(job, stage.run, registry, device, report, info, alone=alone)
        outcome = replace(outcome, digest=artefact.digest)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome = failure(job.unit.key, error)
        if outcome.status == "oom":
            outcome = replace(outcome, reason=f"{outcome.reason} {memory_report(device)}".rstrip())
    seconds = time.monotonic() - clock
    return replace(
        outcome,
        seconds=round(seconds, 3),
        images=info.get("images"),
        peak_memory_mb=None if light else round(peak_memory_mb(device), 1),
        host_memory_mb=None if light else round(host_memory_mb(), 1),
        device=device,
        gpu=describe_gpu(device),
        started=started,
        info=info,
    )


def execute_file(unit: Path) -> Outcome:
    """Run the job in the file ``unit`` and write its outcome and progress beside it; see ``unitfile``.

    Raises:
        StoreError: the outcome cannot be written.
        RequestError: the file is not a job.
    """
    outcome = execute(read_job(unit), None, ProgressFile(unit))
    write_outcome(unit, outcome)
    return outcome


def failure(key: str, error: BaseException) -> Outcome:
    """The outcome of a unit that raised an exception: status, reason, type and traceback."""
    memory = out_of_memory(error)
    if isinstance(error, MtbenchError):
        reason = str(error)
    elif memory:
        reason = "Out of memory, even with one image per batch. Use a smaller model or image size, or a larger device."
    else:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
        reason = f"{type(error).__name__}: {error}{at}"
    return Outcome(
        key,
        "oom" if memory else "error",
        reason=reason,
        error_type=type(error).__name__,
        log="".join(traceback.format_exception(error)),
    )


def _load(job: Job, reference: PluginReference) -> Registry:
    """The plugin, whose code must be that of the plan."""
    registry = load_one(reference)
    registration = registry.get(job.unit.kind, job.unit.plugin)
    if code_identity(registration) != job.code:
        raise PluginError(
            "its code has changed since the run was started",
            where=registration.blame,
            remedy="Rerun the same command",
        )
    return registry


def _run(
    job: Job,
    run: Callable[[Work[Any, Any], Path], Mapping[str, Any]],
    registry: Registry | None,
    device: str,
    report: ProgressReport,
    info: dict[str, Any],
    *,
    alone: bool,
) -> Artefact:
    unit = job.unit
    stage = STAGES[unit.stage]
    store = Store(Path(job.store))
    with contextlib.closing(store.hashes(silent)) as hashes:
        inputs = {role: _whole(store, source, hashes) for role, source in job.inputs.items()}
    registration = registry.get(unit.kind, unit.plugin) if registry and unit.plugin else None
    if registration and imported_code(registration) != job.code:
        raise PluginError(
            "its code has changed since this process imported it", where=registration.blame, remedy="Restart Python"
        )
    unfinished = store.root / "partial" / job.address
    with telling(Path(tempfile.gettempdir())):
        scratch = Path(tempfile.mkdtemp(prefix=temporary_prefix()))
    context = Context(
        task=unit.task,
        params=unit.params,
        seed=unit.seed if unit.seed is not None else 0,
        device=device,
        precision=unit.precision,
        threads=unit.threads,
        batch_size=job.batch_size or stage.batch_size(device),
        scratch=scratch,
        progress=partial(report, unit.key),
        checkpoints=Checkpoints(unfinished) if stage.resumable and stage.uses_device else None,
        partial=unfinished if stage.resumable and not stage.uses_device else None,
        events=Path(job.events) if job.events else None,
        find_weights=find,
    )
    work: Work[Any, Any] = Work(unit, unit.options, inputs, registration, context, job.strict)
    try:
        manifest = job.manifest(registration.spec.revision if registration else "")
        with store.create(unit.stage, job.address, manifest, info, lambda: confirm(job.lease)) as folder:
            with compiled_within(scratch):
                info.update(run(work, folder))
            info["notes"] = [str(line) for line in context.log]
            if registration:
                manifest["imports"] = loaded_elsewhere(registration, alone=alone)
        if context.digests:
            with contextlib.closing(store.hashes(silent)) as hashes:
                hashes.remember(context.digests)
        shutil.rmtree(unfinished, ignore_errors=True)
    except Exception:
        # The run that has taken the unit over removes its partial results at the end.
        confirm(job.lease)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = store.get(unit.stage, job.address)
    assert result is not None
    return result


def _whole(store: Store, source: Input, hashes: Hashes) -> Artefact:
    """An artefact that the unit reads; its content is checked before anything is mapped."""
    artefact = store.get(source.stage, source.address)
    if artefact is None or artefact.digest != source.digest:
        what = "is no longer in the store" if artefact is None else "has been recomputed in the meantime"
        place = str(store.path(source.stage, source.address))
        raise DamagedError(f"the artefact {what}", where=place, remedy="Rerun the same command")
    artefact.check(hashes)
    return artefact
