"""Batched inference: slices in, arrays out, the same whatever the batch size."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from mtbench.data import ImageSet
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
