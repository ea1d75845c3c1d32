"""The checkpoints that a fit keeps along the way: after 1/2, 1/4, 1/8, ... of its budget."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mtbench.errors import DataError, ParamError
from mtbench.store.files import write_whole

FOLDER = "kept"
"""The folder of a fit that holds a folder for each kept checkpoint, named by its part: ``kept/8`` after 1/8."""
_STEPS = "steps.json"


def kept_parts(keep: int) -> tuple[int, ...]:
    """The parts of the budget after which a fit keeps a checkpoint, first to last, without the final one.

    Each checkpoint has trained half as long as the next: 4 gives (8, 4, 2), which stands for 1/8, 1/4 and 1/2.
    """
    return tuple(2**halvings for halvings in range(keep - 1, 0, -1))


def kept_steps(keep: int, steps: int) -> tuple[int, ...]:
    """The steps after which a fit of ``steps`` steps keeps its ``keep`` checkpoints, the final one included.

    Raises:
        ParamError: the fit is too short for so many.
    """
    first = 2 ** (keep - 1)
    if steps < first:
        raise ParamError(
            f"keep = {keep} keeps a checkpoint after 1/{first} of the training, which has {steps} steps",
            expected=f"at least {first} steps",
            remedy="Train longer or keep fewer checkpoints",
        )
    return tuple(-(-steps // part) for part in (*kept_parts(keep), 1))


@dataclass(frozen=True)
class KeptCheckpoints:
    """Where a fit keeps its model along the way; ``mtbench.training.train`` uses it if it has a ``save``.

    Attributes:
        folder: outlives a failed attempt at the same fit.
        keep: how many checkpoints, the final one included.
    """

    folder: Path
    keep: int

    def due(self, before: float, now: float) -> list[int]:
        """The parts (8 for 1/8) that the training has passed between two shares of its budget, first to last."""
        return [part for part in kept_parts(self.keep) if before < 1 / part <= now]

    def save(self, part: int, step: int, write: Callable[[Path], None]) -> None:
        """Keep a checkpoint; one that an earlier attempt has kept in its place is replaced.

        Args:
            part: of the training after which it is kept (8: 1/8).
            step: updates done.
            write: writes the model into the folder that it gets, as the translator's ``load`` reads it.
        """
        place = self.folder / str(part)
        unfinished = self.folder / f"{part}.unfinished"
        for folder in (unfinished, place):
            shutil.rmtree(folder, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write(unfinished)
        unfinished.rename(place)
        self.passed(part, step)

    def passed(self, part: int, step: int) -> None:
        """Record the step of a checkpoint; the final one is part 1."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({**self.steps(), str(part): step}, sort_keys=True).encode()
        write_whole(self.folder / _STEPS, lambda file: file.write(content))

    def steps(self) -> dict[str, int]:
        """The step of each checkpoint so far, by part."""
        path = self.folder / _STEPS
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def copy_to(self, fit: Path) -> dict[str, int]:
        """Copy the kept checkpoints into the folder of a fit; the step of each, by part, that of the final one too."""
        steps = self.steps()
        for part in kept_parts(self.keep):
            if str(part) in steps:
                shutil.copytree(self.folder / str(part), fit / FOLDER / str(part))
        return steps


def weights_folder(fit: Path, part: int, where: str) -> Path:
    """The folder of a fit that holds the weights after 1/``part`` of its training; those at the end for 1.

    Raises:
        DataError: the fit has kept no such checkpoint.
    """
    folder = fit if part == 1 else fit / FOLDER / str(part)
    if not folder.is_dir():
        raise DataError(
            f"the fit has kept no checkpoint after 1/{part} of its training",
            where=where,
            expected="a fit that was trained with `keep` and ended by its budget, not by early stopping",
            remedy="Train it again (`--fresh fit`) or leave `keep` out of the suite",
        )
    return folder
