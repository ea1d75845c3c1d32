"""CycleGAN's weight files: name differences of old versions and of dropout."""

from __future__ import annotations

import re

from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, State, UnfitError, count, same_channels
from mtbench_plugins.translators._shared.resnet import ResnetGenerator

_TRACKED = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)")


def adapt(state: State) -> State:
    """Without instance norm's running statistics (never used), and without the index that dropout occupies."""
    if any(value.ndim == 1 and key.endswith(".weight") for key, value in state.items()):
        raise UnfitError(
            "this file was trained with batch norm (--norm batch); mtbench supports CycleGAN with instance norm only"
        )
    return {
        key.replace(".conv_block.6.", ".conv_block.5."): value
        for key, value in state.items()
        if not _TRACKED.fullmatch(key)
    }


def infer(state: State) -> dict[str, int]:
    """``channels``, ``ngf`` and ``n_blocks``."""
    return infer_with(state, beside_blocks=17)


def infer_with(state: State, beside_blocks: int) -> dict[str, int]:
    """The same of a residual generator with so many entries before its last convolution, the blocks aside."""
    first = state["model.1.weight"]
    blocks = count(state, r"model\.\d+\.conv_block\.1\.weight")
    last = state[f"model.{blocks + beside_blocks}.weight"]
    return {"channels": same_channels(first.shape[1], last.shape[0]), "ngf": first.shape[0], "n_blocks": blocks}


LAYOUT = CheckpointLayout("a CycleGAN generator", adapt, infer, ResnetGenerator)
