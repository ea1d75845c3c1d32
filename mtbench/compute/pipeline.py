"""Images to a GPU and results back while the GPU computes: pinned memory, a separate stream for copies, no waiting."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtbench.data import WHITE, ImageSet

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class _Buffer:
    """A buffer for stored pixels, in pinned memory and on the GPU, with the events after which each is free again."""

    pinned: Tensor
    there: Tensor
    copied: torch.cuda.Event
    decoded: torch.cuda.Event


class Feed:
    """The images of a set on a GPU, decoded there; the next ones are copied while it computes.

    They are copied in the stored type: uint8 takes a quarter of float32. There are two buffers, so that one is filled
    while the GPU reads the other.

    Args:
        images: the slices.
        device: "cuda:0" and the like.
        size: images in a batch at most.
    """

    def __init__(self, images: ImageSet, device: str, size: int) -> None:
        self._images = images
        # PyTorch supports few operations in uint16, so its bits are copied as int16.
        self._bits = np.dtype(np.int16) if images.images.dtype == np.uint16 else images.images.dtype
        # Division by a tensor is rounded as on the CPU; for division by a number, a GPU multiplies by the reciprocal.
        self._white = torch.full((1,), WHITE[images.images.dtype.name], device=device)
        shape = (size, *images.images.shape[1:])
        dtype = torch.from_numpy(np.empty(0, self._bits)).dtype
        self._buffers = [
            _Buffer(
                torch.empty(shape, dtype=dtype, pin_memory=True),
                torch.empty(shape, dtype=dtype, device=device),
                torch.cuda.Event(),  # type: ignore[no-untyped-call]
                torch.cuda.Event(),  # type: ignore[no-untyped-call]
            )
            for _ in range(2)
        ]
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        self._underway: range | None = None

    @torch.inference_mode()
    def fetch(self, rows: range) -> None:
        """Read images and start to copy them while the GPU continues its work."""
        buffer = self._buffers[0]
        buffer.copied.synchronize()  # of the batch before the last, which is long done
        buffer.pinned[: len(rows)].numpy()[:] = np.asarray(self._images.images[rows.start : rows.stop]).view(self._bits)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(buffer.decoded)
            buffer.there[: len(rows)].copy_(buffer.pinned[: len(rows)], non_blocking=True)
            buffer.copied.record(self._stream)
        self._underway = rows

    @torch.inference_mode()
    def take(self, rows: range) -> Tensor:
        """Images as float32 in [0, 1], B x C x H x W, on the GPU; copied now unless they have been."""
        if self._underway != rows:
            self.fetch(rows)
        buffer = self._buffers[0]
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(buffer.copied)
        values = self._decode(buffer.there[: len(rows)])
        buffer.decoded.record(stream)
        self._buffers.reverse()
        self._underway = None
        return values if self._images.images.ndim == 4 else values[:, None]

    def close(self) -> None:
        """The next user of this memory gets it after the last copy."""
        with suppress(RuntimeError):  # of a failed GPU, which would hide the failure itself
            torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def _decode(self, pixels: Tensor) -> Tensor:
        if self._bits == np.float32:
            return pixels.clone()
        if self._bits == np.int16:
            pixels = pixels.to(torch.int32) & 0xFFFF
        return pixels.to(torch.float32).div_(self._white)


class Return:
    """Results that are being copied back from a GPU.

    Args:
        results: tensors by name; those on the CPU are kept unchanged.
        device: of the others.
    """

    def __init__(self, results: Mapping[str, Tensor], device: str) -> None:
        self._tensors = {name: self._begin(tensor) for name, tensor in results.items()}
        self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._arrived.record(torch.cuda.current_stream(device))

    def arrays(self) -> Arrays:
        """Wait for the copies."""
        self._arrived.synchronize()
        return {name: tensor.numpy() for name, tensor in self._tensors.items()}

    @staticmethod
    def _begin(tensor: Tensor) -> Tensor:
        if tensor.device.type == "cpu":
            return tensor.clone()
        here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return here.copy_(tensor, non_blocking=True)
