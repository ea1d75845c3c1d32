"""The perceptual loss: distances of VGG-19 features (Johnson et al. 2016, weighted as in pix2pixHD)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mtbench import WeightsError
from mtbench.training import no_grad
from mtbench_plugins.translators._shared.adversarial import l1
from mtbench_plugins.translators._shared.checkpoint import read

WEIGHTS = "vgg19-imagenet"
"""The catalogued file: torchvision's VGG-19, trained on ImageNet."""
STOPS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
"""Weight of each compared layer (relu1_1 ... relu5_1), by its index among VGG-19's features."""


class PerceptualLoss(nn.Module):
    """Weighted mean absolute differences of five feature maps.

    As in the original, images in [-1, 1] enter without ImageNet's normalisation; grey ones are repeated to three
    channels.

    Args:
        path: torchvision's weight file of VGG-19.

    Raises:
        WeightsError: the file does not hold VGG-19.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        from torchvision.models import vgg19

        self.features = vgg19(weights=None).features[: max(STOPS) + 1]
        state = read(path)
        names = {f"features.{key}": key for key in self.features.state_dict()}
        if not set(names) <= set(state):
            raise WeightsError("this file lacks VGG-19's features", where=str(path))
        self.features.load_state_dict({key: state[name] for name, key in names.items()})
        for module in self.features:
            if isinstance(module, nn.ReLU):
                # The next layer must not overwrite maps that are kept.
                module.inplace = False

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """B x C x H x W in [-1, 1] each; gradients reach ``fake`` alone."""
        x, y = (image.expand(-1, 3, -1, -1) for image in (fake, real.detach()))
        total = torch.zeros((), device=fake.device)
        for index, layer in enumerate(self.features):
            x = layer(x)
            with no_grad():
                y = layer(y)
            if index in STOPS:
                total = total + STOPS[index] * l1(x, y)
        return total
