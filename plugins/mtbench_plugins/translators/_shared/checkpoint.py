"""Official weight files: read without running code, identified, and refused with an error in the user's terms."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mtbench import WeightsError
from mtbench.compute.statedicts import NEW_PLUGIN, read_state, state_of
from mtbench.formats import impostor

State = dict[str, Tensor]
_SAVED_BY_TORCH = (b"PK", b"\x80")
"""How torch's files start: an archive, or a pickle from before 2020."""

KINDS: tuple[tuple[str, str], ...] = (
    ("a diffusion U-Net of diffusers", r"down_blocks\.0\.resnets\.0\.time_emb_proj\.weight"),
    ("a SPADE generator", r"conv_img\.weight"),
    ("a SPADE discriminator", r"discriminator_0\.model0\.0\.weight"),
    ("a MaskGAN generator", r"resnet_blocks\.0\.conv1\.weight"),
    ("a UNSB generator", r"model_res\.0\.conv_fin\.2\.weight"),
    ("a UNSB discriminator or energy network", r"model_main\.0\.conv1\.weight"),
    ("the patch projection (F) of CUT or UNSB", r"mlp_0\.0\.weight"),
    ("a CUT generator", r"model\.7\.filt"),
    ("a residual generator of pix2pix (batch norm)", r"model\.\d+\.conv_block\.2\.weight"),
    ("a CycleGAN generator", r"model\.\d+\.conv_block\.1\.weight"),
    ("a U-Net generator of pix2pix", r"model\.model\..*"),
    ("a regression U-Net of mtbench", r"model\.0\.conv\.unit0\.conv\.weight"),
    ("a discriminator of CUT", r"model\.2\.filt"),
    ("a discriminator of pix2pix", r"model\.3\.running_mean"),
    ("a discriminator of CycleGAN or MaskGAN", r"model\.(8|11)\.weight"),
)
"""Networks by a key that only their state dict has; the first match counts."""

WORDS = {
    "channels": "image channels",
    "ngf": "filters in its first layer (ngf)",
    "n_blocks": "residual blocks",
    "n_downs": "halvings in its U-Net (n_downs)",
    "width": "filters in its first level (width)",
    "levels": "levels",
    "netG": "as its generator (netG)",
    "n_attentions": "attention maps",
    "label_nc": "labels",
    "nhidden": "hidden filters in its SPADE norms",
}


class CheckpointLayout(NamedTuple):
    """How the files of one model are read.

    Attributes:
        kind: its entry in ``KINDS``.
        adapt: maps a file's state to the network's names; drops entries without effect.
        infer: the network's options, from names and shapes.
        build: the network, given those options as keywords.
        also: other entries in ``KINDS`` that it reads.
    """

    kind: str
    adapt: Callable[[State], State]
    infer: Callable[[State], Mapping[str, Any]]
    build: Callable[..., nn.Module]
    also: tuple[str, ...] = ()


class UnfitError(Exception):
    """Raised by ``adapt`` and ``infer`` with the reason why a file of the right kind cannot be used."""


def load(path: Path, layout: CheckpointLayout, params: Mapping[str, Any]) -> nn.Module:
    """The network of an official file, in eval mode and without gradients.

    Args:
        path: the file.
        layout: of the model that it must be of.
        params: the user's options; ``None`` means the file's own.

    Raises:
        WeightsError: the file is missing, damaged, contains code, belongs to another model, or has other options.
    """
    where = str(path)
    state = read(path)
    kind = recognise(state)
    if kind not in (layout.kind, *layout.also):
        raise WeightsError(
            f"this file holds {kind or 'an unknown network'}",
            where=where,
            expected=f"{layout.kind}: its state_dict, alone or as an entry of a training checkpoint",
            remedy=None if kind else NEW_PLUGIN,
        )
    try:
        state = layout.adapt(state)
        sizes = layout.infer(state)
    except UnfitError as error:
        raise WeightsError(str(error), where=where) from None
    except KeyError as error:
        raise WeightsError(f"this file lacks {error}", where=where, expected=f"all weights of {layout.kind}") from None
    for name, value in sizes.items():
        if params.get(name) is not None and params[name] != value:
            raise WeightsError(
                f"this file has {value} {WORDS[name]}, not {params[name]}",
                where=where,
                remedy=f"Set {name}={value}, or omit {name}",
            )
    network = layout.build(**sizes)
    _compare(state, network.state_dict(), where)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def read(path: Path) -> State:
    """The file's tensors as float32, names without ``module.``.

    Raises:
        WeightsError: the file is missing, damaged, contains code, or is not a state dict.
    """
    where = str(path)
    if path.is_dir():
        files = sorted(f.name for f in path.glob("*_net_G*.pth"))
        listed = "It holds " + ", ".join(files) if files else None
        raise WeightsError("this is a folder", where=where, expected="one weight file", remedy=listed)
    if not path.is_file():
        raise WeightsError("this file does not exist", where=where, expected="an official weight file")
    pretends = impostor(path)
    if pretends is not None:
        raise WeightsError(pretends[0], where=where, expected="a file written by torch.save", remedy=pretends[1])
    if path.suffix != ".safetensors":
        _check_start(path)
    try:
        loaded = read_state(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _pickle_error(where, error) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"this file cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=where,
            expected="a file written by torch.save",
            remedy="It is truncated or damaged; download or copy it again",
        ) from None
    loaded = state_of(loaded, where)
    state = {re.sub(r"^(module\.|_orig_mod\.)+", "", str(key)): value for key, value in loaded.items()}
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    broken = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise WeightsError(f"the weights {broken[0]} are not finite", where=where)
    return state


def _check_start(path: Path) -> None:
    """Refuse files that torch would report as a damaged pickle."""
    with path.open("rb") as file:
        start = file.read(9)
    if start and not start.startswith(_SAVED_BY_TORCH):
        kinds = ((b"\x1f\x8b", "a gzip file"), (b"BZh", "a bzip2 file"), (b"7z", "a 7-zip file"))
        kind = next((name for magic, name in kinds if start.startswith(magic)), "")
        kind = "a safetensors file, whose name should end in .safetensors" if start[8:] == b"{" else kind
        raise WeightsError(
            f"this is {kind}" if kind else "this file cannot be read: it is not a torch weight file",
            where=str(path),
            expected="a file written by torch.save",
            remedy="Unpack or convert it first",
        )


def recognise(state: State) -> str | None:
    """The network that the state dict belongs to; ``None`` if unknown."""
    for kind, pattern in KINDS:
        if any(re.fullmatch(pattern, key) for key in state):
            return kind
    return None


def count(state: State, pattern: str) -> int:
    """The number of keys that match."""
    return sum(re.fullmatch(pattern, key) is not None for key in state)


def same_channels(first: int, last: int) -> int:
    """The image channels: input and output must agree, and be 1 or 3."""
    if first != last or first not in (1, 3):
        raise UnfitError(f"this file has {first} input and {last} output channels; mtbench needs 1 and 1, or 3 and 3")
    return first


def paired_channels(first: int, last: int) -> dict[str, int]:
    """``inputs`` and ``channels`` of a network for pairs, whose source slices may have several channels."""
    if first > 1 and last in (1, 3):
        return {"inputs": first, "channels": last}
    return {"inputs": same_channels(first, last), "channels": last}


def _pickle_error(where: str, error: Exception) -> WeightsError:
    if "Weights only load failed" in str(error) and "Unsupported" in str(error):
        match = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", str(error))
        name = f" ({match.group(1)})" if match else ""
        return WeightsError(
            f"this file holds pickled code{name}, which mtbench never runs",
            where=where,
            expected="a state dict: tensors by name, and nothing else",
            remedy="If you trust the file, load it with its own code and save network.state_dict() only",
        )
    return WeightsError(
        "this file cannot be read",
        where=where,
        expected="a file written by torch.save",
        remedy="It is truncated, damaged or not a weight file; download or copy it again",
    )


def _compare(state: State, weights: Mapping[str, Tensor], where: str) -> None:
    missing = [key for key in weights if key not in state]
    extra = [key for key in state if key not in weights]
    if missing or extra:
        kinds = ((missing, "are missing"), (extra, "are unknown"))
        complaints = [f"{len(keys)} {word} ({keys[0]})" for keys, word in kinds if keys]
        raise WeightsError("of this file's weights " + " and ".join(complaints), where=where)
    for key, value in weights.items():
        if value.shape != state[key].shape:
            raise WeightsError(
                f"{key} has shape {tuple(state[key].shape)}", where=where, expected=str(tuple(value.shape))
            )
