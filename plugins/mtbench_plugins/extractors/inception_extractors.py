"""The three Inception extractors: one network, weights from three places."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from mtbench import Context
from mtbench_plugins.extractors.inception_net import SIDE, InceptionNet, State
from mtbench_plugins.extractors.inception_weights import file_digest, load_state, random_state
from mtbench_plugins.extractors.resizing import resize
from mtbench_plugins.extractors.sharing import by_threads


class _Inception:
    """Prepares grey images for the network and runs it.

    Attributes:
        weights_sha256: of the weight file, once it has been read; empty for random weights.
    """

    tensorflow: ClassVar[bool] = True

    def __init__(self, resize: str, scaling: str, quantise: bool) -> None:
        self._resize = resize
        self._scaling = scaling
        self._quantise = quantise
        self._net: InceptionNet | None = None
        self._made_for: tuple[str, str] | None = None
        self.weights_sha256 = ""

    def _state(self, context: Context) -> State:
        raise NotImplementedError

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """The network's input: float32 B x 1 x H x W in [0, 1] as scaled B x 1 x 299 x 299."""
        levels = images * 255
        if self._quantise:
            levels = levels.round()
        x = resize(levels, self._resize, SIDE)
        return (x - 128) / 128 if self._scaling == "tf" else x / 127.5 - 1

    def extract(self, images: torch.Tensor, context: Context) -> dict[str, torch.Tensor]:
        """Features of a batch.

        Args:
            images: float32 B x 1 x H x W in [0, 1].

        Returns:
            ``pool``: float32 B x 2048, the mean over the last feature map; ``logits``: float32 B x classes,
            the FID network's 1008 without the classifier's bias (as in the published Inception Score),
            torchvision's 1000 with it.

        Raises:
            WeightsError: the weight file is missing, altered or belongs to another network.
        """
        made_for = (context.device, context.precision)
        if self._net is None or self._made_for != made_for:
            dtype = torch.bfloat16 if context.precision == "bf16" else torch.float32
            self._net = InceptionNet(
                self._state(context), tensorflow=self.tensorflow, device=context.device, dtype=dtype
            )
            self._made_for = made_for
        net = self._net
        pool, logits = by_threads(lambda part: net(self.prepare(part)), images.to(context.device))
        return {"pool": pool, "logits": logits}


class _FromFile(_Inception):
    catalogued: ClassVar[str]
    classes: ClassVar[int]
    ignored: ClassVar[tuple[str, ...]] = ()

    def __init__(self, resize: str, scaling: str, quantise: bool, weights: str | None = None) -> None:
        super().__init__(resize, scaling, quantise)
        self._weights = Path(weights) if weights else None

    def _state(self, context: Context) -> State:
        path = self._weights or context.weights(self.catalogued)
        state = load_state(path, self.classes, self.ignored)
        self.weights_sha256 = file_digest(path)
        return state


class InceptionFid(_FromFile):
    """The network of the published FID (TensorFlow 2015, 1008 classes)."""

    catalogued = "inception-fid"
    classes = 1008


class InceptionImagenet(_FromFile):
    """Torchvision's Inception v3 (1000 classes); its training-time side branch is not used."""

    tensorflow = False
    catalogued = "inception-imagenet"
    classes = 1000
    ignored = ("AuxLogits.",)


class InceptionRandom(_Inception):
    """The FID network with random weights from a seed."""

    def __init__(self, resize: str, scaling: str, quantise: bool, seed: int) -> None:
        super().__init__(resize, scaling, quantise)
        self._seed = seed

    def _state(self, context: Context) -> State:
        return random_state(self._seed)
