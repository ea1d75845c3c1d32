"""Losses and sample images for TensorBoard, if it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context


class Events:
    """TensorBoard's writer; a failure (a full disk, a broken installation) costs events, not the fit.

    Args:
        context: for its ``events`` folder and its log.
        enabled: ``True``: write to the folder "tensorboard" if the context names none; ``False``: write nothing.
    """

    def __init__(self, context: Context, enabled: bool | None) -> None:
        self._log = context.log
        self._writer: Any = None
        folder = context.events or (Path("tensorboard") if enabled else None)
        if folder is None or enabled is False:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))
        except ImportError:
            if enabled:
                self._log.append("no TensorBoard events: the package 'tensorboard' is not installed")
        except Exception as error:
            self._log.append(f"no TensorBoard events: {error}")

    def scalar(self, name: str, value: float, step: int) -> None:
        """One figure after ``step`` updates."""
        self._write("add_scalar", name, value, step)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """One grey image, H x W."""
        self._write("add_image", name, pixels, step, dataformats="HW")

    def close(self) -> None:
        """Write what is still in memory."""
        self._write("close")

    def _write(self, method: str, *values: Any, **options: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*values, **options)
        except Exception as error:
            self._writer = None
            self._log.append(f"no further TensorBoard events: {error}")
