"""A stand-in for a GPU in tests: it has a name and a strict border, and computes on the CPU.

``with fake_cuda() as seen:`` makes ``cuda:0`` exist in this thread. Tensors that are moved or created there report that
device (``device``, ``is_cuda``), hold the CPU's numbers, and behave at the border as on a GPU: two devices in one
operation, a CPU generator for a tensor on the device, ``.numpy()`` and ``torch.save`` of such a tensor raise, and so
does reading a copy that has not finished. Random numbers of the device come from a generator of its own.

``seen`` counts operations that block the processor, by line of the calling code. It uses a ``TorchFunctionMode``, so it
only sees calls through torch's Python interface: neither the backward pass of autograd nor the inside of torch's
functions. It does not model speed, memory, or kernels with other results than the CPU's. In bf16 the CPU's autocast
stands in for the GPU's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mtbench.conformance.fake_driver import Driver

_QUESTIONS = {"device", "is_cuda", "is_cpu", "get_device", "is_pinned"}
_MOVES = {"to", "cpu", "cuda"}
_FOR_THE_CPU = {"numpy", "__array__", "__reduce_ex__", "untyped_storage", "storage"}
_MAY_MIX = {*_MOVES, "copy_", "__getitem__", "__setitem__", "data=", "grad=", "_has_compatible_shallow_copy_type"}
_NO_SCALARS = {"stack", "cat", "concat", "hstack", "vstack"}
"""Functions that do not even accept a number from the CPU."""
_VIEWS = {"__getitem__", "view", "narrow", "split", "chunk", "unbind", "__iter__", "unsqueeze", "flatten", "detach"}
_DRAWS = {
    *("rand", "randn", "randint", "randperm", "normal", "rand_like", "randn_like", "randint_like", "bernoulli"),
    *("normal_", "uniform_", "bernoulli_", "random_", "exponential_", "multinomial", "dropout", "dropout2d"),
}
_ASKS = {
    *("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__contains__", "__repr__", "__format__"),
    *("is_nonzero", "equal", "allclose", "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"),
    *("bincount", "repeat_interleave", "linalg_eigh", "linalg_svd", "linalg_cholesky", "linalg_inv", "linalg_solve"),
}
"""Functions whose result, or its size, is a number that the processor needs."""
_CONVOLUTIONS = {"conv2d", "conv_transpose2d"}
_UNREPEATABLE = {"adaptive_avg_pool2d", "max_pool2d", "_max_pool2d", "grid_sample", "fractional_max_pool2d"}
"""Functions whose gradient has no deterministic kernel, for any arguments."""


@dataclass
class Seen:
    """The events on the device, by the innermost line outside torch ("spade/labels.py:52").

    Attributes:
        waits: operations that made the processor wait for the device, by kind ("item", "copy back", "copy of memory
            that is not pinned", "index from the CPU", "synchronize") and line.
        layouts: convolutions with channels-last weights whose input was not channels-last: a copy each.
        unrepeatable: operations with a gradient (or a sum) of no deterministic kernel, by name and line.
        convolutions: their number.
    """

    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    layouts: Counter[str] = field(default_factory=Counter)
    unrepeatable: Counter[tuple[str, str]] = field(default_factory=Counter)
    convolutions: int = 0

    def clear(self) -> None:
        """Count from zero."""
        self.waits.clear()
        self.layouts.clear()
        self.unrepeatable.clear()
        self.convolutions = 0


@contextmanager
def fake_cuda(count: int = 1) -> Iterator[Seen]:
    """Within the block, this thread has the GPUs ``cuda:0`` to ``cuda:COUNT-1``.

    Raises:
        RuntimeError: from the code inside, if a GPU would refuse its input.
    """
    seen = Seen()
    driver = Driver(count, lambda kind: _note(seen.waits, kind))
    with ExitStack() as stack:
        stack.enter_context(driver.installed())
        stack.enter_context(mock.patch.object(Tensor, "_make_subclass", staticmethod(_parameter)))
        stack.enter_context(_Border(seen, driver))
        yield seen


class _Border(TorchFunctionMode):
    """Marks the tensors that are on a device, and results computed from them."""

    def __init__(self, seen: Seen, driver: Driver) -> None:
        super().__init__()
        self._seen, self._driver = seen, driver

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = _name(func)
        if name in _QUESTIONS and args and isinstance(args[0], Tensor):
            return _answer(func, name, args, kwargs)
        tensors = list(_tensors((args, kwargs)))
        places = {place for tensor in tensors if (place := _place(tensor))}
        self._check(name, args, tensors, places)
        before = _place(args[0]) if name in _MOVES else next(iter(places), None)
        place = before
        if name in _MOVES or kwargs.get("device") is not None:
            place, args, kwargs = _wanted(name, args, kwargs, before)
        elif name in _MAY_MIX and args and isinstance(args[0], Tensor):
            place = _place(args[0])
        if name == "data=":
            place = _place(args[1])
        self._count(name, args, kwargs, tensors, before, place)
        result = self._call(func, name, args, kwargs, place)
        if name in _MOVES and place != before and result is args[0]:
            result = result.clone()
        self._mark(name, args, kwargs, result, before, place)
        return result

    def _check(self, name: str, args: Any, tensors: list[Tensor], places: set[torch.device]) -> None:
        """Raise if a GPU would."""
        here = [t for t in tensors if not _place(t)]
        read = here[1:] if name == "copy_" and not _place(args[0]) else here
        if name not in _VIEWS and self._driver.on_the_way(read):
            raise RuntimeError(
                f"{name}() reads a tensor that is still being copied from the GPU: nothing waited for the copy"
            )
        if not places:
            return
        if name in _FOR_THE_CPU:
            raise RuntimeError(f"can't convert {_some(places)} device type tensor: {name}() of a tensor on a GPU")
        mixed = [t for t in here if t.ndim or name in _NO_SCALARS]
        if name == "__getitem__" and _place(args[0]) is None:
            raise RuntimeError("indices should be on the CPU, as the indexed tensor is")
        if name not in _MAY_MIX and (mixed or len(places) > 1):
            found = sorted({*map(str, places), *(["cpu"] if mixed else [])})
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found {' and '.join(found)}: {name}()"
            )

    def _count(
        self,
        name: str,
        args: Any,
        kwargs: dict[str, Any],
        tensors: list[Tensor],
        before: torch.device | None,
        place: torch.device | None,
    ) -> None:
        seen = self._seen
        if before and name in _ASKS:
            _note(seen.waits, name)
        if (name in _MOVES and place != before) or (name == "copy_" and _place(args[0]) != _place(args[1])):
            self._copied(name, args, kwargs, place)
        if place and name in ("tensor", "as_tensor", "new_tensor") and not tensors:
            _note(seen.waits, "copy of memory that is not pinned")
        if name in ("__getitem__", "__setitem__") and place and (kind := _index_waits(args[1])):
            _note(seen.waits, kind)
        if name in _CONVOLUTIONS and place:
            seen.convolutions += 1
            if _lost(args[0], kwargs.get("weight", args[1] if len(args) > 1 else None)):
                seen.layouts[_line()] += 1
        if place and torch.is_grad_enabled() and _unrepeatable(name, args, kwargs):
            _note(seen.unrepeatable, name)

    def _copied(self, name: str, args: Any, kwargs: dict[str, Any], place: torch.device | None) -> None:
        source = args[1] if name == "copy_" else args[0]
        at_once = not _in_the_background(name, args, kwargs)
        if not _place(source):
            if at_once or not _pinned(source):
                _note(self._seen.waits, "copy of memory that is not pinned")
        elif not place and (at_once or (name == "copy_" and not _pinned(args[0]))):
            _note(self._seen.waits, "copy back")

    def _call(self, func: Any, name: str, args: Any, kwargs: dict[str, Any], place: torch.device | None) -> Any:
        if name == "pin_memory":
            return args[0].clone()
        func = Tensor.cpu if name == "cuda" else func
        if not place:
            return func(*args, **{**kwargs, **({"pin_memory": False} if "pin_memory" in kwargs else {})})
        given = kwargs.get("generator")
        if given is not None and torch.device(given.device).type != place.type:
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found '{given.device}'")
        if name == "record_stream":
            return None
        if name in _DRAWS and given is None:
            with self._driver.drawing():
                return func(*args, **kwargs)
        result = func(*args, **kwargs)
        # The GPU's kernels for these write NCHW; the CPU's keep the layout.
        if name == "group_norm" or (name == "pad" and _mode(args, kwargs) in ("reflect", "replicate")):
            result = result.contiguous()
        return result

    def _mark(
        self,
        name: str,
        args: Any,
        kwargs: dict[str, Any],
        result: Any,
        before: torch.device | None,
        place: torch.device | None,
    ) -> None:
        made = [args[0]] if name == "data=" else list(_tensors(result))
        kept = name in _VIEWS and args and isinstance(args[0], Tensor) and _pinned(args[0])
        for tensor in made:
            _put(tensor, place)
            if name == "pin_memory" or kwargs.get("pin_memory") or kept:
                tensor.__dict__["_fake_pinned"] = True
        if place or not _in_the_background(name, args, kwargs):
            return
        if before and name in _MOVES:
            self._driver.sent(made)
        elif name == "copy_" and _place(args[1]) and _pinned(args[0]):
            self._driver.sent([args[0]])


@cache
def _name(func: Callable[..., Any]) -> str:
    """The name of a function or a property; "data=" if the property is set."""
    name = getattr(func, "__name__", "")
    if name in ("__get__", "__set__", "__delete__"):
        return str(func.__self__.__name__) + ("" if name == "__get__" else "=")  # type: ignore[attr-defined]
    return str(name)


def _answer(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    place = _place(args[0])
    if name == "is_pinned":
        return _pinned(args[0])
    if not place:
        return func(*args, **kwargs)
    return {"device": place, "is_cuda": True, "is_cpu": False, "get_device": place.index}[name]


def _wanted(
    name: str, args: Any, kwargs: dict[str, Any], before: torch.device | None
) -> tuple[torch.device | None, Any, dict[str, Any]]:
    """The requested device, and the call with the CPU in its place."""
    place = before
    if name in ("cpu", "cuda"):
        number = next((torch.device(v).index if isinstance(v, str) else v for v in args[1:]), 0)
        number = getattr(number, "index", number)
        return torch.device("cuda", number or 0) if name == "cuda" else None, args[:1], {}
    for value in [kwargs.get("device"), *(args[1:] if name in _MOVES else [])]:
        if isinstance(value, Tensor):
            place = _place(value)
        elif isinstance(value, (str, torch.device)):
            asked = torch.device(value)
            place = torch.device("cuda", asked.index or 0) if asked.type == "cuda" else None
    if name in _MOVES:
        args = tuple("cpu" if isinstance(a, (str, torch.device)) else a for a in args)
    return place, args, {k: "cpu" if k == "device" and v is not None else v for k, v in kwargs.items()}


def _in_the_background(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a non-blocking copy is requested."""
    return bool(kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))


def _index_waits(index: Any) -> str:
    """The reason why the processor waits for an index, if it does."""
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8) and part.ndim:
            return "index by a mask"
        if isinstance(part, list) or (isinstance(part, Tensor) and part.ndim and not _place(part)):
            return "index from the CPU"
    return ""


def _lost(x: Tensor, weight: Any) -> bool:
    if not isinstance(weight, Tensor) or x.ndim != 4:
        return False
    last = torch.channels_last
    plainly = weight.is_contiguous(memory_format=last) and not weight.is_contiguous()
    return plainly and not x.is_contiguous(memory_format=last)


def _unrepeatable(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    if not args or not isinstance(args[0], Tensor) or not args[0].requires_grad:
        return False
    if name in ("cross_entropy", "nll_loss"):
        return args[0].ndim == 4
    if name == "interpolate":
        return (kwargs.get("mode") or "nearest") in ("bicubic", "area") or bool(kwargs.get("antialias"))
    return name in _UNREPEATABLE or (name == "pad" and _mode(args, kwargs) in ("reflect", "replicate"))


def _mode(args: Any, kwargs: dict[str, Any]) -> str:
    return str(kwargs.get("mode", args[2] if len(args) > 2 else "constant"))


def _place(tensor: Tensor) -> torch.device | None:
    place: torch.device | None = tensor.__dict__.get("_fake_device")
    return place


def _pinned(tensor: Tensor) -> bool:
    return bool(tensor.__dict__.get("_fake_pinned"))


def _put(tensor: Tensor, place: torch.device | None) -> None:
    if place:
        tensor._fake_device = place  # type: ignore[attr-defined]
    else:
        # Not None: other attributes of a tensor would be saved with it.
        tensor.__dict__.pop("_fake_device", None)


_make_subclass = Tensor._make_subclass


def _parameter(kind: type[Tensor], data: Tensor, *arguments: Any) -> Tensor:
    """The creation of a parameter from a tensor, which no mode sees."""
    made: Tensor = _make_subclass(kind, data, *arguments)
    _put(made, _place(data))
    return made


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _some(places: Iterable[torch.device]) -> str:
    return " and ".join(sorted(map(str, places)))


def _note(counter: Counter[tuple[str, str]], kind: str) -> None:
    counter[kind, _line()] += 1


_NOT_THEIRS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def _line() -> str:
    """The innermost line outside torch and this stand-in."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_NOT_THEIRS):
        frame = frame.f_back
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"
