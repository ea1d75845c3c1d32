"""The work of one unit: read its inputs, run its stage, commit its artefact. The same code for every executor."""

from __future__ import annotations

import contextlib
import importlib
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
from mtbench.compute.seeds import derive
from mtbench.discovery import Registry
from mtbench.errors import MtbenchError, StoreError
from mtbench.run.job import Job, Outcome, manifest_of, task_from_dict
from mtbench.stages.work import Work
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.hashes import Hashes

Report = Callable[[int, int, Mapping[str, Any]], None]
_LIGHT = ("prepare", "split")


def execute(job: Job, registry: Registry, report: Report = lambda done, total, figures: None) -> Outcome:
    """Run one job to its end; whatever goes wrong becomes an outcome, never an exception of this function."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()
    info: dict[str, Any] = {}
    digest = ""
    failure: dict[str, Any] = {"status": "ok"}
    try:
        artefact = _run(job, registry, report, info)
        digest = artefact.digest
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failure = describe_failure(error)
    seconds = time.monotonic() - clock
    light = job.unit["stage"] in _LIGHT
    device = "cpu" if light else job.device
    return Outcome(
        key=job.key,
        digest=digest,
        seconds=round(seconds, 3),
        images=info.get("images"),
        peak_memory_mb=None if light else round(_peak(device), 1),
        device=device,
        started=started,
        info=info,
        **failure,
    )


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


def _run(job: Job, registry: Registry, report: Report, info: dict[str, Any]) -> Artefact:
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
    registered = registry.get(unit["kind"], unit["plugin"]) if unit["plugin"] else None
    partial = store.scratch(job.address)
    scratch = Path(tempfile.mkdtemp(prefix="mtbench-"))
    context = Context(
        task=task_from_dict(unit["task"]),
        params=unit["params"],
        seed=unit["seed"] if unit["seed"] is not None else 0,
        device=job.device,
        precision=unit["precision"],
        threads=unit["threads"],
        batch_size=job.batch_size,
        scratch=scratch,
        progress=report,
        checkpoints=Checkpoints(partial) if unit["stage"] == "fit" else None,
        partial=partial if unit["stage"] == "prepare" else None,
        find_weights=_find_weights,
    )
    if unit["stage"] not in _LIGHT:
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
        with store.create(unit["stage"], job.address, manifest_of(job, registered), info) as folder:
            info.update(stage.run(work, folder))
        if context.digests:
            with contextlib.closing(Hashes(store.root / "hashes.sqlite")) as hashes:
                hashes.remember(context.digests)
        shutil.rmtree(partial, ignore_errors=True)
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

    from mtbench.compute.inference import prepare_torch

    prepare_torch(job.unit["precision"], job.unit["threads"])
    seed = derive(job.address)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _peak(device: str) -> float:
    from mtbench.compute.inference import peak_memory_mb

    return peak_memory_mb(device)
