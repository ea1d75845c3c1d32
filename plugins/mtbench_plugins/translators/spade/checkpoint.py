"""SPADE's weight files."""

from __future__ import annotations

from torch.nn import functional as F

from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, State, UnfitError
from mtbench_plugins.translators.spade.networks import SpadeGenerator
from mtbench_plugins.translators.spade.spectral import EPSILON


def adapt(state: State) -> State:
    """With the right singular vectors, which files of PyTorch before 1.0 lack; half an iteration computes them."""
    if state["fc.weight"].ndim == 2:
        raise UnfitError(
            "this file was trained with an image encoder (--use_vae); mtbench supports SPADE without one only"
        )
    if "up_4.conv_0.weight_orig" in state:
        raise UnfitError("this file was trained with --num_upsampling_layers most; mtbench supports 'normal' only")
    full = dict(state)
    for key, u in state.items():
        stem = key.removesuffix("weight_u")
        if stem != key and f"{stem}weight_v" not in state:
            full[f"{stem}weight_v"] = F.normalize(state[f"{stem}weight_orig"].flatten(1).t() @ u, dim=0, eps=EPSILON)
    return full


def infer(state: State) -> dict[str, int]:
    """``label_nc``, ``channels``, ``ngf`` and ``nhidden``."""
    channels = state["conv_img.weight"].shape[0]
    if channels not in (1, 3):
        raise UnfitError(f"this file generates {channels} image channels; mtbench needs 1 or 3")
    return {
        "label_nc": state["fc.weight"].shape[1],
        "channels": channels,
        "ngf": state["fc.weight"].shape[0] // 16,
        "nhidden": state["head_0.norm_0.mlp_shared.0.weight"].shape[0],
    }


LAYOUT = CheckpointLayout("a SPADE generator", adapt, infer, SpadeGenerator)
