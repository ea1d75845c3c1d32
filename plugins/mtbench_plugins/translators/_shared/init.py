"""Initial weights of the originals. Call under ``mtbench.training.seeded``."""

from __future__ import annotations

from torch import Tensor, nn

GAIN = 0.02


def normal(network: nn.Module) -> None:
    """Every convolution's and linear layer's weight from N(0, 0.02), biases zero (Radford et al. 2016).

    Weights of batch norm from N(1, 0.02).
    """
    for weight, bias in _layers(network):
        nn.init.normal_(weight, 0.0, GAIN)
        if bias is not None:
            nn.init.zeros_(bias)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, GAIN)


def xavier(network: nn.Module) -> None:
    """The same layers by Glorot's normal rule with gain 0.02, biases zero."""
    for weight, bias in _layers(network):
        nn.init.xavier_normal_(weight, GAIN)
        if bias is not None:
            nn.init.zeros_(bias)


def _layers(network: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
    layers: list[tuple[Tensor, Tensor | None]] = []
    for module in network.modules():
        parameters = dict(module.named_parameters(recurse=False))
        # With spectral norm the trained weight has another name.
        weight = parameters.get("weight_orig", parameters.get("weight"))
        if weight is not None and weight.ndim >= 2:
            layers.append((weight, parameters.get("bias")))
    return layers
