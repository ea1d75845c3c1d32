"""Scopes that set global state of torch, Python and NumPy and restore it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from mtbench.compute.context import Context
from mtbench.compute.precision import tf32

_NOT_REPEATED = " does not have a deterministic implementation"


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch (CPU, and CUDA once it is in use), Python and NumPy."""
    # Not torch.manual_seed: before CUDA is in use it records a stack trace at every call, which is slow and leaks.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, Python and NumPy, and restore their states at the end.

    Build networks in it: their initial weights are then a function of ``seed`` alone, and no other draws change. Derive
    the seed from the context's: ``seeded(derive(context.seed, "generator"))``.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=list(devices)):
        try:
            seed_everything(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def no_grad() -> Iterator[None]:
    """``torch.no_grad()`` for a network that is trained in the same block, in any precision.

    Autocast keeps the weights that it has cast for the rest of the block, in some versions of torch (2.8) also those
    that it has cast without gradients: the network would then get no gradients from later operations. Here none are
    kept.
    """
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_autocast_cache_enabled(kept)


@contextmanager
def numerics(context: Context) -> Iterator[None]:
    """The context's CPU threads, TF32 on CUDA only where its precision is "tf32" (bf16 keeps it off), and on CUDA
    kernels that repeat bit by bit, if torch has them; ``context.log`` names operations without one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(context.threads)
    try:
        with tf32(context.precision == "tf32"), repeatable(context) if on_cuda(context) else nullcontext():
            yield
    finally:
        torch.set_num_threads(threads)


def on_cuda(context: Context) -> bool:
    """Whether the context's device is an NVIDIA or AMD GPU."""
    return context.device.startswith("cuda")


@contextmanager
def repeatable(context: Context) -> Iterator[None]:
    """Deterministic algorithms; an operation without one still runs and is named in ``context.log``."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    cudnn, filling = torch.backends.cudnn.deterministic, settings.fill_uninitialized_memory
    torch.backends.cudnn.deterministic = True
    # Memory that is written before it is read need not be zeroed first.
    settings.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with _noted(context.log):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic, settings.fill_uninitialized_memory = cudnn, filling


@contextmanager
def _noted(log: list[str]) -> Iterator[None]:
    """Torch's warnings about non-deterministic operations, as lines of ``log``; other warnings are passed on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=f".*{_NOT_REPEATED}")
        show = warnings.showwarning

        def note(message: Warning | str, *where: Any, **more: Any) -> None:
            name, found, _ = str(message).partition(_NOT_REPEATED)
            if not found:
                show(message, *where, **more)
            elif (
                line := f"{name.strip()} has no deterministic kernel on this device: a fit repeats up to rounding"
            ) not in log:
                log.append(line)

        warnings.showwarning = note
        yield
