"""Transfer to the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def to_device(tensor: Tensor, device: str) -> Tensor:
    """A tensor of the CPU on ``device`` ("cuda:0"); to a GPU from pinned memory, so that nothing waits for it."""
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
