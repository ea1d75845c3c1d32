"""Parameters that the trained translators share, under their originals' names. Imports no torch."""

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
            help=f"an official weight file ({file}) to translate with, in place of training",
        )
    }


def architecture(**words: str) -> dict[str, Param]:
    """Integers that shape the generator; left out, a checkpoint's file decides, or the original's default."""
    return {name: Param(None, "int", minimum=1, help=text) for name, text in words.items()}


def channels() -> dict[str, Param]:
    """Image channels inside the networks."""
    text = "channels inside the networks; grey is repeated to 3 and averaged back (1; of a checkpoint: the file's)"
    return {"channels": Param(None, "int", choices=(1, 3), help=text)}


def budget(epochs: int, decay: float, batch_size: int = 1) -> dict[str, Param]:
    """How long to train (what is used up first ends the fit), in what steps, compiled or not."""
    return {
        "epochs": Param(
            None, "int", minimum=1, help=f"passes over the larger domain ({epochs} where no budget is given)"
        ),
        "steps": Param(None, "int", minimum=1, help="batches"),
        "minutes": Param(None, "float", minimum=0, help="wall-clock minutes of training"),
        "batch_size": Param(batch_size, minimum=1, help="images a step"),
        "decay": Param(
            decay, minimum=0, maximum=1, help="last share of the budget, in which the learning rate falls to 0"
        ),
        "compile": Param(
            False, help="train with torch.compile: minutes of compiling first, then faster steps on a GPU"
        ),
    }


def adam(lr: float, beta1: float, beta2: float) -> dict[str, Param]:
    """The optimisers' settings."""
    return {
        "lr": Param(lr, minimum=0, help="Adam's learning rate"),
        "beta1": Param(beta1, minimum=0, maximum=1, help="Adam's beta1"),
        "beta2": Param(beta2, minimum=0, maximum=1, help="Adam's beta2"),
    }


def augmentation(jitter: bool, flip: bool) -> dict[str, Param]:
    """How training images are varied."""
    load = "286/256 of the image" if jitter else "the image's own"
    return {
        "load_size": Param(None, "int", minimum=1, help=f"height and width that images are resized to ({load})"),
        "crop_size": Param(
            None, "int", minimum=1, help="height and width of the random crop (the image's, cut to a usable multiple)"
        ),
        "flip": Param(flip, help="mirror images left to right at random"),
    }


def trains(params: Mapping[str, Any]) -> bool:
    """A fit is needed unless a checkpoint is given."""
    return params.get("checkpoint") is None


def notes(terms: str) -> Callable[[Mapping[str, Any]], str]:
    """What is said of a given checkpoint: its file name, its sha256, and the original's ``terms``."""

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
