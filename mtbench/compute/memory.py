"""Which errors count as out of memory, and how memory is freed."""

from __future__ import annotations

import gc

_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory: you tried to allocate",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)
"""The messages of the libraries below torch, within errors that have many causes (``torch.AcceleratorError``)."""


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out: the machine's or a GPU's."""
    while error is not None:
        if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
            return True
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__
    return False


def release(device: str) -> None:
    """Free unused memory.

    Call it after the exception is released, because its frames hold the tensors that did not fit.
    """
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
