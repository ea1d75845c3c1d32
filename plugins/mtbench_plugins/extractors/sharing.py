"""A batch divided among CPU threads, each with its own images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def by_threads(
    work: Callable[[torch.Tensor], tuple[torch.Tensor, ...]], images: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Call ``work`` on parts of a batch in parallel and concatenate the results in order, without gradients.

    Threads that share one convolution wait for each other at its end, a hundred times a network; threads with their own
    images never do. On a GPU the batch stays whole.

    Args:
        work: returns tensors whose first axis is the images'; it is called from several threads.
        images: B x anything.
    """
    threads = torch.get_num_threads()
    shares = min(threads, len(images)) if images.device.type == "cpu" else 1
    if shares < 2:
        with torch.no_grad():
            return work(images)

    def share(part: torch.Tensor) -> tuple[torch.Tensor, ...]:
        torch.set_num_threads(threads // shares)
        with torch.no_grad():
            return work(part)

    try:
        with ThreadPoolExecutor(shares) as pool:
            parts = list(pool.map(share, images.tensor_split(shares)))
    finally:
        # A thread's setting also applies to every later thread of the process.
        torch.set_num_threads(threads)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
