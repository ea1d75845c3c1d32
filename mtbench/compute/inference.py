"""Batched inference: slices in, arrays out, the same whatever the batch size."""

from __future__ import annotations

import mmap
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from mtbench.data import ImageSet
from mtbench.errors import RequestError
from mtbench.rows import Rows

if TYPE_CHECKING:
    from mtbench.compute.context import Context


GivenT = TypeVar("GivenT")
ResultT = TypeVar("ResultT")


def in_batches(
    images: ImageSet,
    context: Context,
    give: Callable[[slice, str], GivenT],
    work: Callable[[GivenT, Context], ResultT],
) -> Iterator[tuple[range, ResultT]]:
    """What ``work`` makes of all slices, batch by batch, in order, with their positions.

    Out of memory halves the batch and tries the same range again; a single image that does not fit raises.

    Args:
        images: the slices.
        context: of the unit; each try starts the slices' noise anew.
        give: what ``work`` gets of a span of positions, on a device: ``images.tensor`` or ``images.batch``.
        work: a plugin's method.
    """
    import torch

    size = max(1, context.batch_size)
    started, position, total = time.monotonic(), 0, len(images)
    while position < total:
        batch = range(position, min(position + size, total))
        try:
            with torch.inference_mode():
                context.start_batch()
                result = work(give(slice(batch.start, batch.stop), context.device), context)
        except (torch.OutOfMemoryError, MemoryError):
            if size == 1:
                raise
            size = max(1, size // 2)
            context.log.append(f"out of memory: batch halved to {size}")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield batch, result
        position = batch.stop
        # The pages of a memory map that have been read would count as ours until the end.
        array: Any = images.images.array if isinstance(images.images, Rows) else images.images
        while array is not None and getattr(array, "_mmap", None) is None:
            array = getattr(array, "base", None)
        if array is not None and hasattr(mmap, "MADV_DONTNEED"):
            array._mmap.madvise(mmap.MADV_DONTNEED)
        seconds = time.monotonic() - started
        context.progress(position, total, {"images/s": round(position / seconds, 1) if seconds else 0.0})


def prepare_torch(precision: str, threads: int) -> None:
    """Set threads (torch's and BLAS's) and TF32 as the unit's key says, whatever ran before in this process."""
    import torch

    from mtbench.compute.precision import set_tf32

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    # BLAS takes all cores otherwise, and sums follow suit.
    threadpool_limits(threads, "blas")
    set_tf32(precision == "tf32")
    torch.backends.cudnn.benchmark = False


def check_device(name: str) -> None:
    """Refuse what is no device's name, without a look at the machine: the work may be done by another.

    Raises:
        RequestError: it is neither "cpu" nor a GPU.
    """
    if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:(0|[1-9][0-9]*))?", name):
        raise RequestError(f"there is no device '{name}'", where="--device", expected="cpu, cuda, cuda:1, ...")


def resolve_device(name: str | None) -> str:
    """The device ``name`` with its number; without a name "cuda:0" if there is a GPU, "cpu" otherwise.

    Raises:
        RequestError: it is no device, or a GPU that is not here.
    """
    if name:
        check_device(name)
    if name == "cpu":
        return name
    import torch

    if not name:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind = name.partition(":")[0]
    module = getattr(torch, kind)
    number = gpu_numbers(name, module.device_count() if module.is_available() else 0)[0]
    return kind if kind == "mps" else f"{kind}:{number}"


def gpu_numbers(name: str, count: int) -> list[int]:
    """The numbers of the GPUs that a device stands for, of ``count``: "cuda:1" one, "cuda" all of them.

    Raises:
        RequestError: there are not that many.
    """
    kind, _, number = name.partition(":")
    numbers = [int(number)] if number else list(range(count))
    if numbers and numbers[-1] < count:
        return numbers
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = "" if visible is None or kind != "cuda" else f" with CUDA_VISIBLE_DEVICES={visible!r}"
    visible_count = f"{count} {'is' if count == 1 else 'are'}" if count else "none is"
    alternatives = f"{kind}, or one of {kind}:0 to {kind}:{count - 1}" if count > 1 else f"{kind} or {kind}:0"
    raise RequestError(
        f"there is no GPU '{name}' on this machine: {visible_count} visible to PyTorch{limited}",
        where="--device",
        expected=alternatives if count else "cpu",
    )


def peak_memory_mb(device: str) -> float:
    """The largest memory this process has used: of the GPU where it runs on one, of the machine else."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    import resource

    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)
