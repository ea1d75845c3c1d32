"""Weight files of networks that were trained elsewhere, in any common wrapping: reading, and loading into a network.

Known wrappings: a plain state dict; one under ``state_dict``, ``model``, ``net_G``, ``ema`` and the like, several
deep; names that begin with ``module.`` (DataParallel), ``_orig_mod.`` (torch.compile) or with the name of a Lightning
module's part; safetensors. No code in a file is run.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtbench.errors import WeightsError, close_matches

State = dict[str, Tensor]

_LIKELY = (
    *("params_ema", "ema", "ema_state_dict", "model_ema", "state_dict", "model_state_dict", "model", "net", "network"),
    *("net_G", "netG", "G", "gen", "generator", "generator_state_dict", "netG_A", "G_A", "G_AB", "params", "weights"),
    *("netG_B", "G_B", "G_BA"),
)
"""Names under which a translating network is usually stored, the likeliest first."""
_PREFIXES = ("module.", "_orig_mod.")
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Of safetensors."""
NEW_PLUGIN = (
    "`mtbench new translator NAME --wrap checkpoint` writes a plugin around your own network and its weight file; "
    "`--wrap command` writes one around a program in its own environment"
)
"""The remedy if a file belongs to an unknown network."""


def read_state(file: Path, part: str = "") -> State:
    """The tensors of a weight file, by name.

    Args:
        file: written by ``torch.save`` or safetensors.
        part: which of its entries, if it holds several; "a.b" is the entry "b" of the entry "a".

    Raises:
        WeightsError: the file does not exist, cannot be read without running code, or holds several networks; the text
            lists them and names the likely one.
    """
    where = str(file)
    if not file.is_file():
        raise WeightsError("this weight file does not exist", where=where)
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    return state_of(content, where, part)


def state_of(content: object, where: str, part: str = "") -> State:
    """The tensors, by name, in the content of a weight file; see :func:`read_state`.

    Args:
        content: the result of ``torch.load``.
        where: the file, for messages.
        part: which of its entries.

    Raises:
        WeightsError: it holds no network, or several.
    """
    if part:
        return _entry(content, part, where)
    found = dict(_states(content))
    if not found:
        keys = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise WeightsError(
            f"the file holds no state dict, but {keys or 'nothing':.200}",
            where=where,
            expected="a state dict: torch.save(network.state_dict(), FILE)",
            remedy=NEW_PLUGIN,
        )
    if len(found) == 1:
        return _plain(next(iter(found.values())))
    likely = min(found, key=_rank)
    if _rank(likely) < len(_LIKELY) and sum(_rank(name) < len(_LIKELY) for name in found) == 1:
        return _plain(found[likely])
    listing = ", ".join(f"{name} ({len(state)} tensors)" for name, state in found.items())
    raise WeightsError(
        f"the file holds {len(found)} sets of weights: {listing}",
        where=where,
        remedy=f"'{likely}' is the likely one: set part='{likely}' if the parameter exists, or save it alone",
    )


def load_weights(network: nn.Module, file: Path, part: str = "") -> None:
    """Load a weight file into ``network``, in place.

    Args:
        network: with the names and shapes of the file; a prefix that all names share may differ.
        file, part: see :func:`read_state`.

    Raises:
        WeightsError: it cannot be read, or belongs to another network; the text names missing tensors and other shapes.
    """
    state, own = read_state(file, part), network.state_dict()
    state = _without_prefix(state, set(own))
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    odd = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    if missing or extra or odd:
        problems = [f"it lacks {_some(missing)}"] if missing else []
        problems += [f"it also has {_some(extra)}"] if extra else []
        for name in sorted(odd)[:1]:
            problems.append(f"'{name}' is {_shape(state[name])} in the file and {_shape(own[name])} in the network")
        raise WeightsError(
            f"the file belongs to another network: {'; '.join(problems)}",
            where=str(file),
            expected=f"the {len(own)} tensors of {type(network).__name__}",
            remedy="Build the network with the options of its training. " + NEW_PLUGIN,
        )
    network.load_state_dict(state)


def _some(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _read_torch(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            "the file holds more than tensors, and reading it would run code from it",
            where=str(file),
            expected="a state dict: torch.save(network.state_dict(), FILE), run in the program that trained the "
            "network",
            remedy=NEW_PLUGIN,
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"the file cannot be read: {error}", where=str(file)) from error


def _read_safetensors(file: Path) -> State:
    """The length of a JSON header in 8 bytes, the header, then the tensors
    (https://github.com/huggingface/safetensors).
    """
    try:
        with file.open("rb") as handle:
            size, whole = int.from_bytes(handle.read(8), "little"), os.fstat(handle.fileno()).st_size
            if not 2 <= size <= whole - 8:
                raise ValueError("its header is longer than the file")
            header = json.loads(handle.read(size))
            data = bytearray(handle.read())
        state = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            dtype, shape = _TYPES[entry["dtype"]], [int(length) for length in entry["shape"]]
            if not 0 <= start <= end <= len(data):
                raise ValueError(f"'{name}' lies outside of the file")
            flat = torch.frombuffer(data[start:end], dtype=dtype) if end > start else torch.empty(0, dtype=dtype)
            state[name] = flat.reshape(shape)
        return state
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"this is not a complete safetensors file: {error}", where=str(file)) from error


def _states(content: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Every mapping of names to tensors within ``content``, by its path."""
    if not isinstance(content, Mapping) or depth > 3:
        return
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors and all(isinstance(key, str) for key in content):
        yield name, tensors
        return
    for key, value in content.items():
        # The state of an optimiser is a mapping of numbers to tensors.
        if isinstance(key, str) and "optim" not in key.lower() and "sched" not in key.lower():
            yield from _states(value, f"{name}.{key}" if name else key, depth + 1)


def _entry(content: Any, part: str, where: str) -> State:
    found = dict(_states(content))
    if part in found:
        return _plain(found[part])
    inside = {name: state for name, state in found.items() if name.startswith(f"{part}.")}
    if len(inside) == 1:
        return _plain(next(iter(inside.values())))
    for state in found.values():
        # Lightning keeps all networks in one mapping: "generator.layers.0.weight".
        chosen = {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}
        if chosen:
            return chosen
    tops = {name.partition(".")[0] for state in found.values() for name in state}
    names = [name for name in (*found, *sorted(tops)) if name]
    raise WeightsError(
        f"the file has no part '{part}'",
        where=where,
        expected="one of " + ", ".join(names[:20]),
        matches=close_matches(part, names),
    )


def _rank(name: str) -> int:
    last = name.rpartition(".")[2]
    return _LIKELY.index(last) if last in _LIKELY else len(_LIKELY)


def _plain(state: State) -> State:
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def _without_prefix(state: State, wanted: set[str]) -> State:
    """``state`` by the names of the network, without a prefix that all names in the file share."""
    if not state or state.keys() & wanted:
        return state
    shared = [parts[0] for parts in zip(*(name.split(".") for name in state), strict=False) if len(set(parts)) == 1]
    top = ".".join(shared)
    while top:
        shorter = {name.removeprefix(f"{top}."): value for name, value in state.items()}
        if shorter.keys() & wanted:
            return shorter
        top = top.rpartition(".")[0]
    return state
