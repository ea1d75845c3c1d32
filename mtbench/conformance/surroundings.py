"""The state of a process that a plugin must leave unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import locale
import os
import pickle
import random
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

State = dict[str, Any]
_OF_LIBRARIES = ("TORCH", "PYTORCH", "TRITON", "CUBLAS", "CUDA_", "KMP_", "OMP_")
"""Prefixes of environment variables that libraries set when they are first used."""

_FIXES = {
    "torch's random numbers": (
        "Draw from context.noise or a torch.Generator; build networks within mtbench.training.seeded(...), which "
        "restores the state"
    ),
    "NumPy's random numbers": "Draw from context.rng(...), a generator of its own",
    "Python's random numbers": "Draw from random.Random(context.seed), or from context.rng(...)",
    "torch's default dtype": "Name the dtype when you create tensors",
    "torch's threads": "Do not set them: context.threads are already set and are part of the result's identity",
    "the current folder": "Use absolute paths, and context.scratch for files",
    "the environment": "Pass an environment to the processes that you start",
}


def state() -> State:
    """The checked state, by its name in messages."""
    import torch

    return {
        "torch's random numbers": _hash(torch.default_generator.get_state().numpy().tobytes()),
        "NumPy's random numbers": _hash(pickle.dumps(np.random.get_state())),
        "Python's random numbers": _hash(pickle.dumps(random.getstate())),
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's cuDNN settings": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "torch's TF32 settings": torch.get_float32_matmul_precision(),
        "NumPy's error handling": tuple(sorted(np.geterr().items())),
        "NumPy's print options": repr(np.get_printoptions()),
        "the current folder": os.getcwd(),
        "the environment": {name: value for name, value in os.environ.items() if not name.startswith(_OF_LIBRARIES)},
        "the file mode mask": _umask(),
        "the recursion limit": sys.getrecursionlimit(),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the handlers of signals": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)],
        "standard output": id(sys.stdout),
        "the search path of modules": list(sys.path),
        "matplotlib's settings": _matplotlib(),
        "running threads": sorted(thread.name for thread in threading.enumerate() if not thread.daemon),
    }


AT_IMPORT = (
    "torch's default dtype",
    "torch's threads",
    "torch's gradient mode",
    "torch's deterministic mode",
    "NumPy's error handling",
    "the current folder",
    "the file mode mask",
)
"""State that even an import must not change; libraries may seed, warn and set their own variables when they are loaded.
"""
DRAWS = ("torch's random numbers", "NumPy's random numbers", "Python's random numbers")
"""State that ``__init__`` and ``load`` may change: layers draw initial weights, which are replaced."""


def changes(before: State, after: State, names: Iterable[str] = (), but: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The differences among ``names`` (all by default) ``but`` some, with the fix."""
    found = []
    for name in names or before:
        if name in but:
            continue
        value = before[name]
        if after[name] == value or (name == "matplotlib's settings" and value is None):
            continue
        what = name
        if name == "the environment":
            keys = sorted(key for key in {*value, *after[name]} if value.get(key) != after[name].get(key))
            what = f"{name} ({', '.join(keys[:3])})"
        elif isinstance(value, (str, int, bool)) and len(str(value)) < 60 and not name.endswith("random numbers"):
            what = f"{name} ({value} to {after[name]})"
        found.append((what, _FIXES.get(name, "Restore it, or do not change it")))
    return found


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Restore at the end the state that one check must not pass on to the next."""
    import torch

    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    dtype, threads, folder, errors = torch.get_default_dtype(), torch.get_num_threads(), os.getcwd(), np.geterr()
    environment, path, mask = dict(os.environ), list(sys.path), _umask()
    limit, gradients = sys.getrecursionlimit(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)
        np.seterr(**errors)
        os.chdir(folder)
        os.umask(mask)
        sys.path[:] = path
        sys.setrecursionlimit(limit)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def disturb(seed: int) -> None:
    """Advance the global random generators: nothing may depend on their state."""
    import torch

    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _matplotlib() -> str | None:
    module = sys.modules.get("matplotlib")
    return None if module is None else _hash(repr(sorted(vars(module)["rcParams"].items())).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
