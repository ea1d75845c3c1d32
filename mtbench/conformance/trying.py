"""What the checks of several kinds do: compare arrays, hold arguments against copies, take a refusal for an answer."""

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
    """What ``work`` returns for each batch of ``images``, untouched, which the harness would check and convert."""
    import torch

    results = []
    for start in range(0, len(images), context.batch_size):
        context.start_batch()
        with torch.inference_mode():
            results.append(work(slice(start, min(start + context.batch_size, len(images)))))
    return results


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of two arrays; infinite where their shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))


def same(one: NDArray[Any], other: NDArray[Any], what: str, fix: str, tolerance: float = 1e-6) -> str:
    """That two arrays agree.

    Raises:
        FailedError: they do not; ``what`` says of which two.
    """
    if (apart := distance(one, other)) > tolerance:
        raise FailedError(f"{what} differ by up to {apart:.3g}", fix)
    return "" if apart == 0 else f"equal to {apart:.1g}"


def works_or_refuses(attempt: Callable[[], T], what: str, fix: str) -> T | str:
    """What ``attempt`` gives, or the reason why the plugin refuses, where it says one.

    Raises:
        FailedError: it ends in an error that nobody has foreseen.
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
    """Whether an image set has changed since: the name of what has, empty where nothing has."""
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
