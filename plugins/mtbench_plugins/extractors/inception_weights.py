"""State dicts of Inception v3: from a file, checked entry by entry, or from a seed."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch

from mtbench import WeightsError
from mtbench.compute.seeds import generator
from mtbench.formats import impostor
from mtbench_plugins.extractors.inception_layers import conv_shapes
from mtbench_plugins.extractors.inception_net import FEATURES, expected_shapes

_TRACKED = ".num_batches_tracked"


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _loaded(path: Path) -> object:
    """The content of a file as torch loads it; no code in it is run."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError("this weight file does not exist", where=str(path)) from None
    except Exception as error:
        pretends = impostor(path) if path.is_file() else None
        if pretends is not None:
            raise WeightsError(pretends[0], where=str(path), remedy=pretends[1]) from None
        # Drop torch's advice, which is to run the code in the file.
        reason = str(error).partition("\n")[0].partition("This file can still be loaded")[0]
        raise WeightsError(
            f"this cannot be read as weights: {type(error).__name__}: {reason}",
            where=str(path),
            expected="a state dict written by torch.save",
            remedy="The file may be truncated; download or copy it again",
        ) from error


def load_state(path: Path, classes: int, ignored: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """Read a state dict and check that it belongs to this network.

    Both published layouts are read, with the 94 ``num_batches_tracked`` entries (566 for the FID network) and
    without them (472).

    Args:
        path: a file written by ``torch.save``; nothing in it is run.
        classes: rows of the classifier.
        ignored: prefixes of names that are allowed but not needed.

    Raises:
        WeightsError: the file does not exist or is not a state dict, or entries are missing, unknown, of another shape
            or not finite.
    """
    loaded = _loaded(path)
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightsError(
            f"the file holds {type(loaded).__name__}, not a state dict",
            where=str(path),
            expected="a dictionary of names and tensors",
        )
    expected = expected_shapes(classes)
    missing = [name for name in expected if name not in loaded]
    unknown = [
        name for name in loaded if name not in expected and not name.endswith(_TRACKED) and not name.startswith(ignored)
    ]
    wrong = [
        f"{name} {tuple(loaded[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in loaded and tuple(loaded[name].shape) != shape
    ]
    problems = [
        f"{len(names)} entries {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", wrong))
        if names
    ]
    if problems:
        raise WeightsError(
            f"these are the weights of another network: {'; '.join(problems)}",
            where=str(path),
            expected=f"Inception v3 with {classes} classes",
        )
    state = {name: loaded[name].float() for name in expected}
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(
            f"{broken[0]} holds NaN or infinite values", where=str(path), remedy="Download or copy the file again"
        )
    return state


_CENTRED = 0.8
_GAIN = 1.25
_CLASS_SPREAD = 0.4


def random_state(seed: int) -> dict[str, torch.Tensor]:
    """A state dict of the FID network with random filters and neutral batch normalisation.

    Plain random filters respond mostly to an image's brightness, increasingly so in deeper layers: the features of all
    images end up on one line. So four fifths of each filter's mean is removed (features of real slices then spread over
    tens of directions), and a gain keeps activations at the scale of trained features.
    """
    state: dict[str, torch.Tensor] = {}
    for name, shape in conv_shapes():
        filters = _centred(shape, seed, name)
        state[f"{name}.conv.weight"] = filters * (_GAIN * math.sqrt(2 / math.prod(shape[1:])))
        for entry, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            state[f"{name}.bn.{entry}"] = torch.full(shape[:1], value)
    state["fc.weight"] = _centred((1008, FEATURES), seed, "fc") * _CLASS_SPREAD
    state["fc.bias"] = torch.zeros(1008)
    return state


def _centred(shape: tuple[int, ...], seed: int, name: str) -> torch.Tensor:
    source = generator("inception-random", seed, name)
    draws = torch.from_numpy(source.standard_normal(shape, dtype="float32"))
    return draws - _CENTRED * draws.mean(tuple(range(1, len(shape))), keepdim=True)
