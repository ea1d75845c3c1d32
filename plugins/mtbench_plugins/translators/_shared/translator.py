"""The common part of the trained translators: weights in and out, and images through the generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtbench import Batch, Context, DataError, PluginError, TrainingData
from mtbench.training import History, Recipe, Sampler, signed, unsigned
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, load


class GeneratorTranslator(ABC):
    """A translator that is one generator network.

    Images whose size is not a multiple of ``multiple`` are padded by reflection at the right and bottom, and cropped
    back. Weights are saved under the original's file name and in its format, so that the original's code and
    ``checkpoint=`` can load a trained generator.

    Args:
        params: all parameters that the spec declares.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    multiple: ClassVar[int]
    smallest: ClassVar[int]
    instance_norm: ClassVar[bool] = True

    def __init__(self, **params: Any) -> None:
        self.params = params
        self.network: nn.Module | None = None
        self.history = History()
        self._sizes: tuple[nn.Module, Mapping[str, Any]] | None = None

    @property
    @abstractmethod
    def layout(self) -> CheckpointLayout:
        """How the model's files are read."""

    @abstractmethod
    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on both domains' training slices."""

    def save(self, folder: Path) -> None:
        """Write the generator, and the record of the training.

        Raises:
            PluginError: there is no trained generator.
        """
        self.save_generator(folder)
        self.history.save(folder)

    def save_generator(self, folder: Path) -> None:
        """Write the generator alone, as :meth:`load` reads it: a checkpoint along the way.

        Raises:
            PluginError: there is none.
        """
        if self.network is None:
            raise PluginError(f"{self.name} is neither trained nor loaded")
        # Plain tensors in the usual memory order, as in the originals' files.
        state = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        torch.save(state, folder / self.file)

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            WeightsError: the file is missing or belongs to another model.
        """
        self.network = self.read(folder / self.file)

    def read(self, path: Path) -> nn.Module:
        """The generator of a fit or an official checkpoint.

        Raises:
            WeightsError: the file is missing or belongs to another model.
        """
        return load(path, self.layout, self.params)

    def translate(self, batch: Batch, context: Context) -> Tensor:
        """Float32 B x 1 x H x W in [0, 1].

        Raises:
            WeightsError: the checkpoint cannot be used.
            DataError: the images are too small.
        """
        network = self._ready(context.device)
        # On a CPU a batch is up to 15 % slower than one image at a time, because its large feature maps are returned to
        # the system and cleared again at every layer.
        pieces = split(batch) if context.device == "cpu" else [batch]
        with torch.inference_mode(), context.autocast():
            out = torch.cat([self.generate(network, piece, context) for piece in pieces])
        return unsigned(out.float().mean(dim=1, keepdim=True))

    def generate(self, network: nn.Module, batch: Batch, context: Context) -> Tensor:
        """Run the generator on a batch; B x C x H x W in [-1, 1]."""
        source = signed(batch.source)
        inputs, count = self.inputs(network), source.shape[1]
        if count == 1 and inputs == self.channels(network):
            source = source.expand(-1, inputs, -1, -1)
        elif count != inputs:
            raise DataError(
                f"the weights of {self.name} take {inputs} source channel{'s' if inputs != 1 else ''}, and a slice has "
                f"{count}",
                where=str(self.params["checkpoint"] or "") or None,
                expected="as many channels as in its training",
                remedy="Use weights that were trained on slices with these channels",
            )
        height, width = source.shape[2:]
        x = self.padded(source).contiguous(memory_format=self.memory_format(context.device))
        return self.forward(network, x, batch, context)[:, :, :height, :width]

    def forward(self, network: nn.Module, x: Tensor, batch: Batch, context: Context) -> Tensor:
        """One padded batch through the generator; B x C x H x W in [-1, 1] both ways."""
        out: Tensor = network(x)
        return out

    def memory_format(self, device: str) -> torch.memory_format:
        """Channels last, except for instance norm on a CPU, which copies every map back and forth (2x slower)."""
        plain = self.instance_norm and device == "cpu"
        return torch.contiguous_format if plain else torch.channels_last

    def train(self, recipe: Recipe, sampler: Sampler, context: Context, *, epochs: int) -> None:
        """Train within the parameters' budget, or for ``epochs``; ``network`` is the recipe's generator by then.

        Raises:
            TrainingError: see ``mtbench.training.train``.
        """
        last = self.memory_format(context.device) is torch.channels_last
        self.history = fitting.run(
            recipe, sampler, self.params, context, epochs=epochs, channels_last=last, save=self.save_generator
        )

    def sizes(self, network: nn.Module) -> Mapping[str, Any]:
        """Channels, filters and so on of the generator, as the layout infers them from its weights."""
        # Read once: a small image takes little longer than this.
        if self._sizes is None or self._sizes[0] is not network:
            self._sizes = network, self.layout.infer(dict(network.state_dict()))
        return self._sizes[1]

    def channels(self, network: nn.Module) -> int:
        """Image channels of the generator's output."""
        return int(self.sizes(network)["channels"])

    def inputs(self, network: nn.Module) -> int:
        """Image channels of the generator's input: those of its output, or of a source slice with several."""
        sizes = self.sizes(network)
        return int(sizes.get("inputs", sizes["channels"]))

    def padded(self, x: Tensor) -> Tensor:
        """``x`` reflected at the right and bottom up to a multiple of ``multiple``.

        Raises:
            DataError: a side is shorter than ``smallest``.
        """
        height, width = x.shape[2:]
        if min(height, width) < self.smallest:
            raise DataError(
                f"images of {height} x {width} are too small for {self.name}",
                expected=f"at least {self.smallest} pixels a side",
            )
        below, right = -height % self.multiple, -width % self.multiple
        return F.pad(x, (0, right, 0, below), mode="reflect") if below or right else x

    def _ready(self, device: str) -> nn.Module:
        if self.network is None:
            if self.params["checkpoint"] is None:
                raise PluginError(f"{self.name} is not trained and has no checkpoint")
            self.network = self.read(Path(self.params["checkpoint"]))
        if self.network.training:
            self.network.eval()
        if next(self.network.parameters()).device != torch.device(device):
            self.network.to(device)
        return self.network.to(memory_format=self.memory_format(device))


def split(batch: Batch) -> list[Batch]:
    """The images of a batch, each in a batch of its own."""
    rows = [slice(i, i + 1) for i in range(len(batch))]
    return [Batch(batch.source[r], batch.slices[r], None if batch.masks is None else batch.masks[r]) for r in rows]
