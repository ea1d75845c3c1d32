"""A CUDA device that computes on the CPU, for tests of where tensors are: its tensors may not meet the CPU's.

It sees what goes through torch's Python interface in this thread. Kernels, autocast and speed are a real GPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DEVICE = "cuda:0"
_MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda}
_MAY_MIX = {
    *_MOVES,
    *(Tensor.copy_, Tensor.__getitem__, Tensor.__setitem__, Tensor.data.__set__),
    torch._has_compatible_shallow_copy_type,  # type: ignore[attr-defined]  # Module.to() asks it
}
_FOR_THE_CPU = {Tensor.numpy, Tensor.__array__, Tensor.untyped_storage}


class _Strict(TorchFunctionMode):
    """Marks the tensors that were moved to the device or made there, and what is computed from them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = list(_tensors((args, kwargs)))
        there = any(_marked(tensor) for tensor in tensors)
        if func == Tensor.device.__get__ and there:
            return torch.device(DEVICE)
        if func in (Tensor.is_cuda.__get__, Tensor.is_cpu.__get__):
            return there == (func == Tensor.is_cuda.__get__)
        if func == Tensor.pin_memory:
            return args[0]
        if there and func in _FOR_THE_CPU:
            raise RuntimeError(f"{func.__name__}() of a tensor on {DEVICE}")
        if there and func not in _MAY_MIX and any(t.ndim and not _marked(t) for t in tensors):
            raise RuntimeError(f"{func.__name__}() of tensors on {DEVICE} and on the CPU")
        if "device" in kwargs or func in _MOVES:
            there, args, kwargs = _wanted(func, args, kwargs, there)
        result = func(*args, **kwargs)
        if func in _MOVES and there != _marked(args[0]):
            result = result.clone() if result is args[0] else result
        if func == Tensor.data.__set__:
            made_here = [args[0]] if (there := _marked(args[1])) else []
        else:
            made_here = list(_tensors(result))
        for tensor in made_here:
            tensor._strict = there
        return result


def _wanted(func: Any, args: Any, kwargs: dict[str, Any], there: bool) -> tuple[bool, Any, dict[str, Any]]:
    """Whether the device is asked for, and the call with the CPU in its place."""
    devices = [kwargs.get("device"), *args[1:]] if func in _MOVES else [kwargs["device"]]
    for device in devices:
        if isinstance(device, Tensor):
            there = _marked(device)
        elif isinstance(device, (str, torch.device)):
            there = torch.device(device).type == "cuda"
    if func in (Tensor.cpu, Tensor.cuda):
        return func == Tensor.cuda, args, kwargs
    plain = tuple("cpu" if isinstance(a, (str, torch.device)) else a for a in args) if func in _MOVES else args
    return there, plain, {k: "cpu" if k == "device" and v is not None else v for k, v in kwargs.items()}


def _marked(tensor: Tensor) -> bool:
    return bool(tensor.__dict__.get("_strict", False))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


@contextmanager
def strict_device() -> Iterator[str]:
    """While it is open there is one GPU, whose name it gives."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.cuda, "is_available", return_value=True))
        stack.enter_context(mock.patch.object(torch.cuda, "device_count", return_value=1))
        # Optimisers ask it for a stream, which only a driver has.
        stack.enter_context(mock.patch.object(torch.accelerator, "current_accelerator", return_value=None))
        stack.enter_context(_Strict())
        yield DEVICE
