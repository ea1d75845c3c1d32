"""The answers of ``torch.cuda`` while the stand-in for a GPU is active: counts, names, memory, streams, events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

NAME = "stand-in GPU"
MEMORY = 8 * 2**30
"""Bytes of memory that it reports."""


class Driver:
    """The state of the devices.

    Args:
        count: their number.
        waited: called whenever the processor waits, with the kind of wait.
    """

    def __init__(self, count: int, waited: Callable[[str], None]) -> None:
        self.count = count
        self.waited = waited
        self._way: set[int] = set()
        self._generator = torch.Generator().manual_seed(1).get_state()

    def sent(self, tensors: Iterable[Tensor]) -> None:
        """Record an unfinished copy to these CPU tensors."""
        self._way |= {_memory(tensor) for tensor in tensors}

    def on_the_way(self, tensors: Sequence[Tensor]) -> bool:
        """Whether one of these CPU tensors is still being written."""
        return bool(self._way) and any(_memory(tensor) in self._way for tensor in tensors)

    def underway(self) -> set[int]:
        """The memory that is currently being written."""
        return set(self._way)

    def wait(self, memory: set[int] | None = None) -> None:
        """The processor waits for the copies into ``memory``, or for everything."""
        self.waited("synchronize")
        self._way -= self.underway() if memory is None else memory

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draws within the block come from the device's generator."""
        state = torch.get_rng_state()
        torch.set_rng_state(self._generator)
        try:
            yield
        finally:
            self._generator = torch.get_rng_state()
            torch.set_rng_state(state)

    def seed(self, seed: int) -> None:
        """Seed the device's generator; its numbers differ from the CPU's with the same seed."""
        self._generator = torch.Generator().manual_seed((seed + 0x6F6E65) % 2**63).get_state()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """``torch.cuda`` answers for these devices."""
        # Modules that build a table of torch's functions on import must find torch's own.
        import torch._dynamo

        with ExitStack() as stack:
            for name, value in self._answers().items():
                stack.enter_context(mock.patch.object(torch.cuda, name, value, create=True))
            # Optimisers request a stream, which only a driver has.
            stack.enter_context(mock.patch.object(torch.accelerator, "current_accelerator", _nothing))
            stack.enter_context(mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped))
            stack.enter_context(mock.patch.object(torch, "autocast", _Autocast))
            stack.enter_context(mock.patch.object(torch.amp, "autocast", _Autocast))
            yield

    def _answers(self) -> dict[str, Any]:
        here = SimpleNamespace(name=NAME, total_memory=MEMORY, major=9, minor=0, multi_processor_count=1, uuid="none")
        stream = Stream(self)
        return {
            **dict.fromkeys(("is_available", "is_initialized", "is_bf16_supported"), lambda *a, **k: True),
            **dict.fromkeys(("is_current_stream_capturing", "_is_in_bad_fork"), lambda: False),
            **dict.fromkeys(("_lazy_init", "init", "empty_cache", "reset_peak_memory_stats", "set_device"), _nothing),
            **dict.fromkeys(
                ("max_memory_allocated", "memory_allocated", "max_memory_reserved", "memory_reserved"),
                lambda device=None: 2**20,
            ),
            "device_count": lambda: self.count,
            "current_device": lambda: 0,
            "get_device_name": lambda device=None: NAME,
            "get_device_capability": lambda device=None: (9, 0),
            "get_device_properties": lambda device=None: here,
            "mem_get_info": lambda device=None: (MEMORY, MEMORY),
            "synchronize": lambda device=None: self.wait(),
            "manual_seed": self.seed,
            "manual_seed_all": self.seed,
            "get_rng_state": lambda device=None: self._generator,
            "set_rng_state": lambda state, device=None: setattr(self, "_generator", state),
            "Stream": lambda *a, **k: Stream(self),
            "Event": lambda *a, **k: Event(self),
            **dict.fromkeys(("current_stream", "default_stream"), lambda device=None: stream),
            "stream": _same,
        }


class Event:
    """As ``torch.cuda.Event``: a point in a stream that the processor can wait for."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._memory: set[int] = set()

    def record(self, stream: Any = None) -> None:
        """Copies begun before this point are done when the event is."""
        self._memory = self._driver.underway()

    def wait(self, stream: Any = None) -> None:
        """A stream waits; the processor does not."""

    def query(self) -> bool:
        """Whether it has happened: the stand-in is always done."""
        return True

    def synchronize(self) -> None:
        """The processor waits."""
        self._driver.wait(self._memory)

    def elapsed_time(self, end: Any) -> float:
        """Milliseconds: none pass here."""
        return 0.0


class Stream:
    """As ``torch.cuda.Stream``: work in order, beside the work of other streams."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def record_event(self, event: Event | None = None) -> Event:
        """Record a point in this stream."""
        event = event or Event(self._driver)
        event.record()
        return event

    def wait_stream(self, stream: Any) -> None:
        """This stream waits for another one; the processor does not."""

    def wait_event(self, event: Any) -> None:
        """This stream waits for a point in another one; the processor does not."""

    def query(self) -> bool:
        """Whether it is idle: the stand-in always is."""
        return True

    def synchronize(self) -> None:
        """The processor waits for the whole stream."""
        self._driver.wait()


class _Autocast(torch.autocast):
    """The CPU's autocast stands in for the GPU's: weights are cast, kept and looked up by the same code."""

    def __init__(self, device_type: str, *args: Any, **options: Any) -> None:
        super().__init__("cpu" if device_type.startswith("cuda") else device_type, *args, **options)


def _grouped(lists: list[list[Any]], with_indices: bool = False) -> dict[Any, Any]:
    """Like torch's own, which asks C++ for a tensor's device: lists of tensors, sorted by device and dtype of the
    first.
    """
    groups: dict[Any, Any] = {}
    for index, first in enumerate(lists[0]):
        group = groups.setdefault((first.device, first.dtype), ([[] for _ in lists], []))
        for members, whole in zip(group[0], lists, strict=True):
            if whole:
                members.append(whole[index])
        if with_indices:
            group[1].append(index)
    return groups


def _memory(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage().data_ptr()


def _nothing(*arguments: Any, **options: Any) -> None:
    return None


@contextmanager
def _same(stream: Any) -> Iterator[Any]:
    yield stream
