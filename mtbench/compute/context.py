"""The context of a plugin: device, precision, seed, noise, weight files, progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtbench.compute.seeds import derive, generator
from mtbench.compute.transfer import to_device
from mtbench.data import Batch, Slice, Task
from mtbench.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from mtbench.compute.checkpoints import Checkpoints
    from mtbench.compute.kept import KeptCheckpoints
    from mtbench.store.files import FileState

Progress = Callable[[int, int, Mapping[str, Any]], None]
"""Called with the number of items done, the total, and figures to show ({"loss": 0.3, "images/s": 41})."""


def _silent(done: int, total: int, figures: Mapping[str, Any]) -> None:
    return None


def _no_weights(name: str) -> Path:
    raise WeightsError(f"the plugin requests the weight file '{name}', which its spec does not name")


@dataclass
class Context:
    """The context of one unit.

    Attributes:
        task: the task, if there is one.
        params: the plugin's own parameters.
        seed: of this fit or this sampling; 0 if the unit has none.
        device: a torch device string ("cpu", "cuda:0").
        precision: "fp32", "tf32" or "bf16".
        threads: CPU threads this unit may use; part of its identity.
        batch_size: slices per inference batch; never changes a result beyond rounding.
        scratch: a temporary folder, removed afterwards.
        progress: reports progress; frequent calls are cheap.
        checkpoints: for fits that resume; ``None`` outside fits.
        kept: for fits that keep checkpoints along the way (`keep` in the suite); ``None`` otherwise.
        events: folder for TensorBoard events of a fit; ``None`` if they are not requested.
        find_weights: how :meth:`weights` finds a catalogued file.
        partial: for ``prepare``: a folder that is kept after a failed attempt and removed after a successful one;
            ``None`` elsewhere.
        steps_at_most: in a trial fit, the number of steps after which ``mtbench.training`` stops, whatever its budget;
            ``None`` otherwise.
        log: lines for the unit's record ("stopped after 12 epochs").
        remarks: of a translator; see :meth:`remark`.
        left_out: skipped cases, each with the reason; see :meth:`leave_out`.
        clamped: share of a translation's pixels outside [0, 1]; known after all slices are translated.
        weights_used: names of the catalogued files that :meth:`weights` returned.
        digests: state and sha256, by path, of raw files that were read completely, so that the data set's fingerprint
            needs no second read.
    """

    task: Task | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 2
    batch_size: int = 8
    scratch: Path = Path()
    progress: Progress = _silent
    checkpoints: Checkpoints | None = None
    kept: KeptCheckpoints | None = None
    events: Path | None = None
    find_weights: Callable[[str], Path] = _no_weights
    partial: Path | None = None
    steps_at_most: int | None = None
    log: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    clamped: float = 0.0
    weights_used: list[str] = field(default_factory=list)
    digests: dict[str, tuple[FileState, str]] = field(default_factory=dict)
    _draws: dict[str, int] = field(default_factory=dict, repr=False)

    def noise(self, batch: Batch | Sequence[Slice], shape: tuple[int, ...]) -> torch.Tensor:
        """Standard normal noise, float32, B x ``shape``, on the device.

        Each slice has its own generator, seeded by (seed, slice id, how often it drew before in this
        call of ``translate``), so that a slice gets the same noise at any batch size and on any device.
        """
        import torch

        slices = batch.slices if isinstance(batch, Batch) else tuple(batch)
        rows = []
        for item in slices:
            draw = self._draws.get(item.slice_id, 0)
            self._draws[item.slice_id] = draw + 1
            source = torch.Generator().manual_seed(derive(self.seed, item.slice_id, draw))
            rows.append(torch.randn(shape, generator=source))
        return to_device(torch.stack(rows), self.device)

    def start_batch(self) -> None:
        """Restart every slice's noise; the harness calls this before each ``translate``, including retries."""
        self._draws.clear()

    def remark(self, text: str) -> None:
        """Add a remark, in ``fit`` or ``translate``, for readers of this translator's row ("Trained without ...").

        It is recorded in every row of the translator and printed once below the table.
        """
        if str(text) not in self.remarks:
            self.remarks.append(str(text))

    def leave_out(self, case: str, reason: str) -> None:
        """Skip an unusable case (a volume, a patient) of a data set.

        It is counted and listed by name and reason; with ``--strict`` the whole preparation fails.
        """
        self.left_out.append((str(case), str(reason)))

    def rng(self, *names: Any) -> np.random.Generator:
        """A NumPy generator for (seed, names), independent of the order of calls."""
        return generator(self.seed, *names)

    def weights(self, name: str) -> Path:
        """The local path of a catalogued weight file, checked against its sha256.

        Raises:
            WeightsError: the file is missing or another one; the text says how to get it.
        """
        path = self.find_weights(name)
        self.weights_used.append(name)
        return path

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 autocast if ``precision`` is "bf16", otherwise no effect."""
        if self.precision != "bf16":
            return nullcontext()
        import torch

        return torch.autocast(device_type=self.device.partition(":")[0], dtype=torch.bfloat16)
