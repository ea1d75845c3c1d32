"""What the training recipes of image-to-image models have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Adam
from torch.optim.optimizer import ParamsT

from mtbench.compute.transfer import to_device
from mtbench.training import Moment, Recipe, linear_decay, scale_rates, signed, unsigned
from mtbench_plugins.translators._shared.layers import channels_last


class TranslationRecipe(Recipe):
    """Learning rates that are constant and then fall to zero, and a preview that is translated now and then.

    Args:
        params: of the translator.
        preview: images to translate now and then, B x C x H x W in [0, 1], sides that the networks take.
        parts: networks, optimisers and extras; see ``Recipe``.
    """

    def __init__(self, params: Mapping[str, Any], preview: Tensor, **parts: Any) -> None:
        self.channels = params["channels"] or 1
        self.hold = 1.0 - params["decay"]
        self.preview = preview
        super().__init__(**parts)

    @abstractmethod
    def translated(self, source: Tensor) -> Tensor:
        """The translation of B x C x H x W in [-1, 1]."""

    def schedule(self, moment: Moment) -> None:
        """Learning rates constant, then linearly to zero."""
        scale_rates(self.optimisers.values(), linear_decay(moment, self.hold))

    def signed(self, images: Tensor) -> Tensor:
        """B x 1 x H x W in [0, 1] to B x C x H x W in [-1, 1]; several channels stay as they are."""
        return channels_last(signed(images).expand(-1, self.channels if images.shape[1] == 1 else -1, -1, -1))

    def preview_source(self) -> Tensor:
        """The preview on the networks' device."""
        network = next(iter(self.networks.values()))
        return to_device(self.preview, str(next(network.parameters()).device))

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """The preview and its translation."""
        source = self.preview_source()
        return {"source": source, "translated": grey(self.translated(self.signed(source)))}


def grey(images: Tensor) -> Tensor:
    """B x C x H x W in [-1, 1] to B x 1 x H x W in [0, 1]."""
    return unsigned(images.float().mean(dim=1, keepdim=True))


def adam(params: Mapping[str, Any], weights: ParamsT) -> Adam:
    """Adam with the translator's ``lr``, ``beta1`` and ``beta2``."""
    return Adam(weights, lr=params["lr"], betas=(params["beta1"], params["beta2"]))
