"""Parameters that the trained translators share, under the original names. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtbench import Param


def checkpoint(file: str) -> dict[str, Param]:
    """The parameter that names an official weight file."""
    return {
        "checkpoint": Param(
            None,
            "path",
            role="checkpoint",
            help=f"an official weight file ({file}) to use instead of training",
        )
    }


def architecture(**words: str) -> dict[str, Param]:
    """Integers that define the generator; if omitted, the checkpoint's file or the original's default decides."""
    return {name: Param(None, "int", minimum=1, help=text) for name, text in words.items()}


def channels() -> dict[str, Param]:
    """Image channels inside the networks."""
    text = "channels inside the networks; grey is repeated to 3 and averaged back (default: 1, or as in the checkpoint)"
    return {"channels": Param(None, "int", choices=(1, 3), help=text)}


def budget(epochs: int, decay: float | None, batch_size: int = 1) -> dict[str, Param]:
    """Length of training (the first limit reached ends the fit), step size, compilation; ``decay`` unless ``None``."""
    share = "share of the budget at the end in which the learning rate falls to 0"
    return {
        "epochs": Param(
            None, "int", minimum=1, help=f"passes over the larger domain (default without any budget: {epochs})"
        ),
        "steps": Param(None, "int", minimum=1, help="batches"),
        "minutes": Param(None, "float", minimum=0, help="wall-clock minutes of training"),
        "batch_size": Param(batch_size, minimum=1, help="images per step"),
        **({} if decay is None else {"decay": Param(decay, minimum=0, maximum=1, help=share)}),
        "compile": Param(False, help="train with torch.compile: minutes of compilation, then faster steps on a GPU"),
    }


def adam(lr: float, beta1: float, beta2: float) -> dict[str, Param]:
    """The optimisers' settings."""
    return {
        "lr": Param(lr, minimum=0, help="Adam's learning rate"),
        "beta1": Param(beta1, minimum=0, maximum=1, help="Adam's beta1"),
        "beta2": Param(beta2, minimum=0, maximum=1, help="Adam's beta2"),
    }


def augmentation(jitter: bool, flip: bool) -> dict[str, Param]:
    """Augmentation of training images."""
    load = "286/256 of the image" if jitter else "the image's own"
    return {
        "load_size": Param(None, "int", minimum=1, help=f"height and width that images are resized to ({load})"),
        "crop_size": Param(
            None,
            "int",
            minimum=1,
            help="height and width of the random crop (default: the image's, rounded down to a usable multiple)",
        ),
        "flip": Param(flip, help="mirror images left-right at random"),
    }


def trains(params: Mapping[str, Any]) -> bool:
    """A fit is needed unless a checkpoint is given."""
    return params.get("checkpoint") is None


def notes(terms: str) -> Callable[[Mapping[str, Any]], str]:
    """The note on a checkpoint: its file name, its sha256, and the original's ``terms``."""

    def of(params: Mapping[str, Any]) -> str:
        checkpoint = params.get("checkpoint")
        if checkpoint is None:
            return ""
        path = Path(checkpoint)
        digest = ""
        if path.is_file():
            with path.open("rb") as file:
                digest = f" (sha256 {hashlib.file_digest(file, 'sha256').hexdigest()})"
        return f"Weights from {path.name}{digest}. {terms}"

    return of
