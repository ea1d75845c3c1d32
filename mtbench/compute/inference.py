"""Batched inference: slices in, arrays out, with the same result at any batch size."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from mtbench.compute.memory import out_of_memory, release
from mtbench.data import ImageSet
from mtbench.rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

    from mtbench.compute.context import Context
    from mtbench.compute.pipeline import Arrays

    Step = Callable[[range, Tensor], Mapping[str, Tensor]]


def in_batches(images: ImageSet, context: Context, step: Step) -> Iterator[tuple[range, Arrays]]:
    """The results of ``step`` for all slices, batch by batch, in order, with their positions.

    On a GPU each batch starts before the previous one is yielded, so the GPU computes while the caller writes. If
    memory runs out, the batch is halved and the same range repeated; a single image that does not fit raises.

    Args:
        images: the slices.
        context: of the unit; each attempt restarts the slices' noise.
        step: receives positions and their images: float32 in [0, 1], B x C x H x W, on the device. It returns tensors
            by name, which are yielded as arrays. It should not read values itself, because that would block until the
            GPU is done.

    Yields:
        The positions of a batch and what ``step`` returned for it.
    """
    started, total = time.monotonic(), len(images)
    make = _ahead if context.device.startswith("cuda") else _one_by_one
    for rows, arrays in make(images, context, step):
        yield rows, arrays
        seconds = time.monotonic() - started
        context.progress(rows.stop, total, {"images/s": round(rows.stop / seconds, 1) if seconds else 0.0})


def _one_by_one(images: ImageSet, context: Context, step: Step) -> Iterator[tuple[range, Arrays]]:
    def give(rows: range) -> Tensor:
        return images.tensor(slice(rows.start, rows.stop))

    for rows, results in _batches(len(images), context, step, lambda size: give):
        yield rows, {name: tensor.numpy() for name, tensor in results.items()}
        _let_go_of_pages(images)


def _ahead(images: ImageSet, context: Context, step: Step) -> Iterator[tuple[range, Arrays]]:
    """Computes one batch and reads two batches ahead of the one that is yielded."""
    from mtbench.compute.pipeline import Feed, Return

    feeds: list[Feed] = []

    def feed(size: int) -> Callable[[range], Tensor]:
        feeds.clear()  # before the next one takes its memory
        feeds.append(Feed(images, context.device, size))
        return feeds[0].take

    before: tuple[range, Return] | None = None
    try:
        for rows, results in _batches(len(images), context, step, feed):
            back = Return(results, context.device)
            following = range(rows.stop, min(rows.stop + len(rows), len(images)))
            if following:
                feeds[0].fetch(following)
                _let_go_of_pages(images)
            if before:
                yield before[0], before[1].arrays()
            before = rows, back
        if before:
            yield before[0], before[1].arrays()
    finally:
        for each in feeds:
            each.close()


def _batches(
    total: int, context: Context, step: Step, giver: Callable[[int], Callable[[range], Tensor]]
) -> Iterator[tuple[range, Mapping[str, Tensor]]]:
    """The results of ``step`` for batches as large as memory allows; ``giver(size)`` builds their source of images."""
    import torch

    size, position = max(1, context.batch_size), 0
    give: Callable[[range], Tensor] | None = None
    results: Mapping[str, Tensor] | None
    while position < total:
        rows = range(position, min(position + size, total))
        try:
            with torch.inference_mode():
                context.start_batch()
                give = give or giver(min(size, total))
                results = step(rows, give(rows))
        except Exception as error:
            if size == 1 or not out_of_memory(error):
                raise
            results = None
        if results is None:
            # Not while the exception exists: it holds references to the unfinished tensors.
            give, size = None, max(1, size // 2)
            context.log.append(f"out of memory: batch halved to {size}")
            release(context.device)
            continue
        yield rows, results
        position = rows.stop


def _let_go_of_pages(images: ImageSet) -> None:
    """Pages of a memory map that have been read would otherwise count as this process's memory until the end."""
    array: Any = images.images.array if isinstance(images.images, Rows) else images.images
    while array is not None and getattr(array, "_mmap", None) is None:
        array = getattr(array, "base", None)
    if array is not None and hasattr(mmap, "MADV_DONTNEED"):
        array._mmap.madvise(mmap.MADV_DONTNEED)


def prepare_torch(precision: str, threads: int) -> None:
    """Set threads (torch's and BLAS's) and TF32 as in the unit's key, whatever ran before in this process."""
    import torch

    from mtbench.compute.precision import set_tf32

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    # Otherwise BLAS uses all cores, which changes sums.
    threadpool_limits(threads, "blas")
    set_tf32(precision == "tf32")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # cuBLAS reads it when it is first used, and gives equal products for equal inputs only with it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
