"""The stream of batches of a training, prepared ahead of time on CUDA, and their transfer to the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

from mtbench.compute.context import Context
from mtbench.compute.transfer import to_device
from mtbench.training.recipe import Part
from mtbench.training.samplers import Sampler

_WORKERS = 4
_AHEAD = 8


@contextmanager
def batches(
    sampler: Sampler, seed: int, batch_size: int, steps_per_epoch: int, start: int, context: Context
) -> Iterator[Iterator[dict[str, Tensor]]]:
    """The batches of steps ``start``, ``start`` + 1, ... without end.

    On CUDA, threads work ahead; on the CPU the network uses all threads. A batch is a function of its step alone, so
    this changes only the speed.
    """

    def batch(step: int) -> dict[str, Tensor]:
        epoch, place = divmod(step, steps_per_epoch)
        first = place * batch_size
        return sampler.batch(seed, epoch, range(first, min(first + batch_size, len(sampler))))

    if not context.device.startswith("cuda"):
        yield map(batch, _from(start))
        return
    with ThreadPoolExecutor(_WORKERS, "mtbench-batches") as pool:
        steps = _from(start)
        waiting: deque[Future[dict[str, Tensor]]] = deque()

        def ahead() -> Iterator[dict[str, Tensor]]:
            while True:
                while len(waiting) < _AHEAD:
                    waiting.append(pool.submit(batch, next(steps)))
                yield waiting.popleft().result()

        try:
            yield ahead()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def split(
    batch: dict[str, Tensor], pieces: int, device: str, memory_format: torch.memory_format
) -> tuple[list[Part], list[float]]:
    """A batch as at most ``pieces`` parts on the device, and each part's share of the images."""
    size = len(next(iter(batch.values())))
    parts: list[Part] = []
    shares: list[float] = []
    for indices in torch.arange(size).tensor_split(min(pieces, size)):
        first, last = int(indices[0]), int(indices[-1]) + 1
        parts.append({name: _laid_out(t[first:last], device, memory_format) for name, t in batch.items()})
        shares.append((last - first) / size)
    return parts, shares


def _laid_out(tensor: Tensor, device: str, memory_format: torch.memory_format) -> Tensor:
    tensor = to_device(tensor, device)
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def _from(start: int) -> Iterator[int]:
    while True:
        yield start
        start += 1
