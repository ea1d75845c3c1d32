"""The record of a fit: losses, validation figures, sample images."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

Phase = Literal["train", "validation"]


@dataclass(frozen=True)
class HistoryEntry:
    """One figure.

    Attributes:
        fit: the ``name`` of the call of ``train``.
        phase: "train" (mean over the steps since the previous entry) or "validation".
        step, epoch: updates and whole epochs done by then.
        name: of the loss or figure.
        value: finite.
    """

    fit: str
    phase: Phase
    step: int
    epoch: int
    name: str
    value: float


@dataclass(frozen=True)
class SampleImage:
    """One sample image: ``pixels`` uint8, H x W, after ``step`` updates."""

    fit: str
    step: int
    epoch: int
    name: str
    pixels: NDArray[np.uint8] = field(compare=False)


@dataclass
class History:
    """The record of one call of ``train``; without clock times, so that equal fits have equal records.

    Attributes:
        entries: losses and validation figures in order.
        samples: sample images in order.
        steps, epochs: the length of training; whole epochs.
        best_score, best_epoch: of the kept weights, if there was validation.
        ended: why training stopped: "budget" or "patience".
    """

    entries: list[HistoryEntry] = field(default_factory=list)
    samples: list[SampleImage] = field(default_factory=list)
    steps: int = 0
    epochs: int = 0
    best_score: float | None = None
    best_epoch: int | None = None
    ended: Literal["budget", "patience"] = "budget"

    def values(self, name: str, phase: Phase = "train") -> list[float]:
        """All values of one loss or figure, in order."""
        return [e.value for e in self.entries if e.name == name and e.phase == phase]

    def save(self, folder: Path) -> None:
        """Write ``losses.parquet`` and, if there are sample images, ``samples.parquet`` (PNG) into
        ``folder``."""
        figures = pa.schema(
            [
                ("fit", pa.string()),
                ("phase", pa.string()),
                ("step", pa.int64()),
                ("epoch", pa.int64()),
                ("name", pa.string()),
                ("value", pa.float64()),
            ]
        )
        pq.write_table(pa.Table.from_pylist([vars(e) for e in self.entries], figures), folder / "losses.parquet")
        if self.samples:
            images = pa.schema([*list(figures)[:1], *list(figures)[2:5], ("png", pa.binary())])
            rows = [
                {"fit": s.fit, "step": s.step, "epoch": s.epoch, "name": s.name, "png": _png(s.pixels)}
                for s in self.samples
            ]
            pq.write_table(pa.Table.from_pylist(rows, images), folder / "samples.parquet")

    def state_dict(self) -> dict[str, Any]:
        """Everything as tensors, numbers, text, lists and dicts."""
        return {
            **vars(self),
            "entries": [list(vars(e).values()) for e in self.entries],
            "samples": [{**vars(s), "pixels": torch.from_numpy(s.pixels.copy())} for s in self.samples],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        """The record that :meth:`state_dict` described."""
        return cls(
            **{
                **state,
                "entries": [HistoryEntry(*row) for row in state["entries"]],
                "samples": [SampleImage(**{**s, "pixels": s["pixels"].numpy()}) for s in state["samples"]],
            }
        )


def join(histories: Iterable[History]) -> History:
    """One record of several fits (one network per object), to be saved together."""
    result = History()
    for history in histories:
        result.entries += history.entries
        result.samples += history.samples
        result.steps += history.steps
        result.epochs += history.epochs
    return result


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()
