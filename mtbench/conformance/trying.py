"""Steps that checks of several kinds share: compare arrays, compare arguments with copies, accept a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.conformance.verdict import FailedError, UntriedError
from mtbench.data import ImageSet
from mtbench.errors import MtbenchError

T = TypeVar("T")


def in_batches(images: ImageSet, context: Context, work: Callable[[slice], T]) -> list[T]:
    """The unprocessed results of ``work`` for each batch of ``images``; the harness would check and convert them."""
    import torch

    results = []
    for start in range(0, len(images), context.batch_size):
        context.start_batch()
        with torch.inference_mode():
            results.append(work(slice(start, min(start + context.batch_size, len(images)))))
    return results


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of two arrays; infinite if their shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))


def same(one: NDArray[Any], other: NDArray[Any], what: str, fix: str, tolerance: float = 1e-6) -> str:
    """Check that two arrays agree.

    Raises:
        FailedError: they differ; ``what`` names them.
    """
    if (apart := distance(one, other)) > tolerance:
        raise FailedError(f"{what} differ by up to {apart:.3g}", fix)
    return "" if apart == 0 else f"equal to {apart:.1g}"


def works_or_refuses(attempt: Callable[[], T], what: str, fix: str) -> T | str:
    """The result of ``attempt``, or the plugin's reason for refusing.

    Raises:
        FailedError: it raises an error other than a refusal.
    """
    try:
        return attempt()
    except (FailedError, UntriedError):
        raise
    except MtbenchError as error:
        return f"refused with a reason: {error}"
    except Exception as error:
        raise FailedError(f"{what}: {type(error).__name__}: {error}", fix) from error


def frozen(images: ImageSet) -> Callable[[], str]:
    """The name of the changed part of an image set; empty if nothing has changed."""
    pixels = np.array(images.images)
    masks = None if images.masks is None else np.array(images.masks)
    slices = images.slices

    def changed() -> str:
        if not np.array_equal(pixels, np.asarray(images.images)):
            return "the images"
        if masks is not None and not np.array_equal(masks, np.asarray(images.masks)):
            return "the masks"
        return "" if slices == images.slices else "the records of the slices"

    return changed
