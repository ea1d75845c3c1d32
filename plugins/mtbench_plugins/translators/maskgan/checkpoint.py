"""MaskGAN's weight files."""

from __future__ import annotations

from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, State, UnfitError, count, same_channels
from mtbench_plugins.translators.maskgan.networks import AttentionGenerator


def infer(state: State) -> dict[str, int]:
    """``channels``, ``ngf``, ``n_blocks`` and ``n_attentions``."""
    attentions, contents = state["deconv3_attention.weight"].shape[0], state["deconv3_content.weight"].shape[0]
    if contents % attentions:
        raise UnfitError(
            f"this file has {attentions} attention maps but {contents} content channels, which is not a multiple"
        )
    first = state["conv1.weight"]
    return {
        "channels": same_channels(first.shape[1], contents // attentions),
        "ngf": first.shape[0],
        "n_blocks": count(state, r"resnet_blocks\.\d+\.conv1\.weight"),
        "n_attentions": attentions,
    }


LAYOUT = CheckpointLayout("a MaskGAN generator", lambda state: state, infer, AttentionGenerator)
