"""``mtbench doctor``: what this machine offers to a run, its problems, and the command that fixes each."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from mtbench.compute import weights
from mtbench.engine.amounts import size
from mtbench.errors import MtbenchError
from mtbench.memory import memory
from mtbench.registry.registry import Registry
from mtbench.registry.specs import DatasetSpec, ExecutorSpec
from mtbench.store.artefacts import Store

_LIBRARIES = ("numpy", "torch", "torchvision", "monai", "pyarrow", "nibabel", "pydicom")
_LITTLE_DISK = 5e9
_LITTLE_MEMORY = 4e9
State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the result.

    Attributes:
        about: "versions", "gpu", "precision", "disk", "memory", "weights", "data", "plugins" or "executors".
        state: "ok"; "note" for what only some suites need; "problem" for what stops or affects runs.
        text: what was detected.
        cure: a command, or what to do; empty if nothing is to be done.
    """

    about: str
    state: State
    text: str
    cure: str = ""


def examine(registry: Registry, store: Path) -> list[Finding]:
    """Check everything; nothing is changed, created or downloaded.

    Args:
        registry: the plugins, rejected ones included.
        store: the store that runs would use.
    """
    findings = [*_versions(), *_gpu(), *_disk(store), *_memory()]
    for look in (_weights, _data, _plugins, _executors):
        findings += _safely(look, registry, store)
    return findings


def _safely(look: Callable[[Registry, Path], Iterator[Finding]], registry: Registry, store: Path) -> list[Finding]:
    try:
        return list(look(registry, store))
    except MtbenchError as error:
        return [Finding(look.__name__.strip("_"), "problem", str(error), error.remedy or "")]


def _versions() -> Iterator[Finding]:
    import mtbench

    yield Finding("versions", "ok", f"mtbench {mtbench.__version__}, Python {platform.python_version()}, {_system()}")
    installed, absent = [], []
    for name in _LIBRARIES:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            absent.append(name)
    yield Finding("versions", "ok", ", ".join(installed))
    if absent:
        cure = f"python -m pip install {' '.join(absent)}"
        yield Finding("versions", "problem", f"not installed: {', '.join(absent)}", cure)


def _system() -> str:
    return f"{platform.system()} {platform.release()} on {platform.machine()}, {_cores()} cores"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu() -> Iterator[Finding]:
    try:
        import torch

        torch.zeros(1)
    except Exception as error:  # a broken installation fails in many ways
        cure = "python -m pip install --force-reinstall torch torchvision"
        yield Finding("gpu", "problem", f"torch cannot be imported: {type(error).__name__}: {error}", cure)
        return
    drivers = _drivers()
    if not torch.cuda.is_available():
        yield _without_gpu(drivers, torch.version.cuda)
        yield Finding("precision", "ok", "fp32; bf16 works, but is slow on most CPUs; tf32 needs a GPU")
        return
    modern = True
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        modern = modern and properties.major >= 8
        text = f"cuda:{number}: {properties.name}, {size(properties.total_memory)}, torch for CUDA {torch.version.cuda}"
        yield Finding("gpu", "ok", text + (f", driver {drivers[0]}" if drivers else ""))
    kinds = "fp32, tf32, bf16" if modern else "fp32; tf32 and bf16 need a GPU of compute capability 8 or more"
    yield Finding("precision", "ok", kinds)


def _without_gpu(drivers: list[str], built_for: str | None) -> Finding:
    if not drivers:
        return Finding("gpu", "note", "no GPU detected: units run on the CPU")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if built_for is None:
        text = f"the driver ({drivers[0]}) detects a GPU, but this torch is built without CUDA"
        return Finding(
            "gpu", "problem", text, "Install the build for your driver: https://pytorch.org/get-started/locally/"
        )
    if hidden is not None:
        text = f"the driver ({drivers[0]}) detects a GPU, but CUDA_VISIBLE_DEVICES={hidden!r} hides it"
        return Finding("gpu", "problem", text, "unset CUDA_VISIBLE_DEVICES")
    text = f"the driver ({drivers[0]}) detects a GPU, but torch (CUDA {built_for}) cannot use it"
    return Finding("gpu", "problem", text, "Update the driver, or install a torch built for an older CUDA")


def _drivers() -> list[str]:
    """The driver's version, once for each GPU that it detects; empty without an NVIDIA driver."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def _disk(store: Path) -> Iterator[Finding]:
    place = next(folder for folder in (store, *store.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    text = f"{size(free)} free for the store, {store}"
    if not os.access(place, os.W_OK):
        cure = "export MTBENCH_STORE=FOLDER, a folder that you can write"
        yield Finding("disk", "problem", f"the store, {store}, cannot be written", cure)
    elif free < _LITTLE_DISK:
        yield Finding("disk", "problem", text, "mtbench store prune, or export MTBENCH_STORE=FOLDER on a larger disk")
    else:
        yield Finding("disk", "ok", text)


def _memory() -> Iterator[Finding]:
    there = memory()
    if there is None:
        yield Finding("memory", "note", "free memory unknown on this system")
        return
    state: State = "ok" if there.free >= _LITTLE_MEMORY else "problem"
    cure = "" if state == "ok" else "mtbench run SUITE --jobs 1 --batch-size 1"
    yield Finding("memory", state, f"{size(there.free)} of {size(there.total)} free", cure)


def _weights(registry: Registry, store: Path) -> Iterator[Finding]:
    for file in weights.catalogue().values():
        state = weights.state(file)
        if state == "ready":
            yield Finding("weights", "ok", f"{file.name}: {file.path}")
        else:
            cure = f"mtbench weights fetch {file.name}"
            yield Finding("weights", "note" if state == "missing" else "problem", f"{file.name}: {state}", cure)


def _data(registry: Registry, store: Path) -> Iterator[Finding]:
    prepared: dict[str, int] = {}
    for manifest in (store / "artefacts" / "prepare").glob("*/*/manifest.json"):
        artefact = Store(store).get("prepare", manifest.parent.name)
        if artefact and "plugin" in artefact.manifest.get("unit", {}):
            name = str(artefact.manifest["unit"]["plugin"])
            prepared[name] = prepared.get(name, 0) + 1
    for name in registry.names("dataset"):
        spec = registry.get(DatasetSpec, name).spec
        if name in prepared:
            yield Finding(
                "data", "ok", f"{name}: prepared {prepared[name]} time{'s' * (prepared[name] > 1)} in the store"
            )
        elif spec.needs_root:
            yield Finding(
                "data", "note", f"{name}: needs a copy of its data", f"mtbench data prepare {name} --root DIR"
            )
        else:
            yield Finding("data", "ok", f"{name}: needs no files")


def _plugins(registry: Registry, store: Path) -> Iterator[Finding]:
    good = [plugin for plugin in registry.plugins if not plugin.problem]
    foreign = sorted({plugin.origin for plugin in good if not plugin.built_in})
    others = f"; others: {', '.join(foreign)}" if foreign else ""
    yield Finding("plugins", "ok", f"{sum(len(plugin.specs) for plugin in good)} usable{others}")
    for plugin in registry.plugins:
        if plugin.problem:
            yield Finding("plugins", "problem", f"{plugin.name} of {plugin.origin}: {plugin.problem}", plugin.remedy)


def _executors(registry: Registry, store: Path) -> Iterator[Finding]:
    default = registry.default(ExecutorSpec)
    for name in registry.names("executor"):
        registration = registry.get(ExecutorSpec, name)
        try:
            problems = list(registration.create(registration.complete({})).problems(""))
        except MtbenchError as error:
            problems = [str(error)]
        usual = " (the default)" if name == default else ""
        if not problems:
            yield Finding("executors", "ok", f"{name}{usual}")
        for problem in problems:
            state: State = "problem" if name == default else "note"
            yield Finding("executors", state, f"{name}: {problem}", f"mtbench plugins {name}")
