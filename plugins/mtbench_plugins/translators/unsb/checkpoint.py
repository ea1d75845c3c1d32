"""UNSB's weight files."""

from __future__ import annotations

from functools import partial

from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, State, count, same_channels
from mtbench_plugins.translators.unsb.generator import BridgeGenerator


def infer(state: State) -> dict[str, int]:
    """``channels``, ``ngf`` and ``n_blocks``."""
    first = state["model.1.weight"]
    return {
        "channels": same_channels(first.shape[1], state["model_upsample.9.weight"].shape[0]),
        "ngf": first.shape[0],
        "n_blocks": count(state, r"model_res\.\d+\.conv_fin\.2\.weight"),
    }


def layout(timed: bool) -> CheckpointLayout:
    """How files are read; ``timed`` cannot be seen in them."""
    return CheckpointLayout("a UNSB generator", lambda state: state, infer, partial(BridgeGenerator, timed=timed))
