"""Saving and restoring a recipe's state, and the check that it is finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mtbench.compute.checkpoints import Checkpoints
from mtbench.errors import StoreError
from mtbench.training.recipe import Recipe


def pack(recipe: Recipe) -> dict[str, Any]:
    """A copy on the CPU of everything in ``recipe`` that training changes."""
    return {
        "networks": networks(recipe),
        "optimisers": {name: copy_of(o.state_dict()) for name, o in recipe.optimisers.items()},
        "extras": {name: copy_of(e.state_dict()) for name, e in recipe.extras.items()},
    }


def networks(recipe: Recipe) -> dict[str, Any]:
    """A copy on the CPU of the networks' weights and buffers."""
    return {name: copy_of(dict(network.state_dict())) for name, network in recipe.networks.items()}


def unpack(recipe: Recipe, state: Mapping[str, Any]) -> None:
    """Restore a packed state, in place."""
    load_networks(recipe, state["networks"])
    for name, optimiser in recipe.optimisers.items():
        optimiser.load_state_dict(copy_of(state["optimisers"][name]))
    for name, extra in recipe.extras.items():
        extra.load_state_dict(copy_of(state["extras"][name]))


def load_networks(recipe: Recipe, weights: Mapping[str, Any]) -> None:
    """Restore weights, in place."""
    for name, network in recipe.networks.items():
        network.load_state_dict(weights[name])


def copy_of(value: Any) -> Any:
    """Tensors cloned onto the CPU with their strides; containers rebuilt."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {k: copy_of(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copy_of(v) for v in value)
    return value


def not_finite(packed: Mapping[str, Any]) -> str | None:
    """The path of the first tensor that holds NaN or infinity; ``None`` if all are finite."""
    for path, tensor in _tensors(packed, ""):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return path
    return None


def _tensors(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{path}/{key}".lstrip("/"))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{path}/{index}")


class Shelf:
    """The entry of one training in a fit's checkpoint file.

    Args:
        checkpoints: the fit's; ``None``: nothing is saved.
        name: of the training.
        plan: settings that must agree with a saved state (seed, batch size...).
    """

    def __init__(self, checkpoints: Checkpoints | None, name: str, plan: Mapping[str, Any]) -> None:
        self._checkpoints, self._name, self._plan = checkpoints, name, dict(plan)
        self._all: dict[str, Any] = {}

    def restore(self) -> dict[str, Any] | None:
        """The state last saved under this name.

        Raises:
            StoreError: it belongs to a training with another plan.
        """
        if self._checkpoints is None:
            return None
        self._all = dict((self._checkpoints.restore() or {}).get("trainings", {}))
        state = self._all.get(self._name)
        if state is None:
            return None
        if state["plan"] != self._plan:
            changed = [k for k in self._plan if state["plan"].get(k) != self._plan[k]]
            raise StoreError(
                f"the checkpoint of '{self._name}' was saved with another {' and '.join(changed)}",
                expected=", ".join(f"{k} {state['plan'].get(k)}" for k in changed),
                remedy="Restart this fit, or resume it with its original settings",
            )
        return dict(state)

    def due(self) -> bool:
        """Whether it is time to save."""
        return self._checkpoints is not None and self._checkpoints.due()

    def save(self, state: Mapping[str, Any]) -> None:
        """Save under this name."""
        if self._checkpoints is not None:
            self._all[self._name] = {**state, "plan": self._plan}
            self._checkpoints.save({"trainings": self._all})
