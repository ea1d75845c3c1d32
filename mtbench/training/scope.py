"""Scopes that set global state of torch, Python and NumPy and put it back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from mtbench.compute.context import Context
from mtbench.compute.precision import tf32


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch (CPU, and CUDA once it is in use), Python and NumPy."""
    # Not torch.manual_seed: before CUDA is in use that notes a stack trace at every call, which is slow and leaks.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, Python and NumPy, and put their former states back at the end.

    Build networks in it: their initial weights are then a function of ``seed`` alone, and nobody else's draws
    change. Derive the seed from the context's: ``seeded(derive(context.seed, "generator"))``.
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
def numerics(context: Context) -> Iterator[None]:
    """The context's CPU threads, and TF32 on CUDA only where its precision is "tf32" (bf16 keeps it off)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(context.threads)
    try:
        with tf32(context.precision == "tf32"):
            yield
    finally:
        torch.set_num_threads(threads)
