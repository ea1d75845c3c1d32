"""A residual U-Net that is trained to predict the target image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mtbench import Context, TrainingData
from mtbench.compute.seeds import derive
from mtbench.errors import ParamError
from mtbench.training import Losses, Part, Step, seeded
from mtbench_plugins.segmenters.residual_unet import ResidualUNet
from mtbench_plugins.translators._shared import fitting
from mtbench_plugins.translators._shared.adversarial import l1
from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout, State, count, paired_channels
from mtbench_plugins.translators._shared.recipe import TranslationRecipe, adam
from mtbench_plugins.translators._shared.translator import GeneratorTranslator

WIDTH, LEVELS = 16, 5


def infer(state: State) -> dict[str, int]:
    """``inputs``, ``channels``, ``width`` and ``levels``."""
    first = state["model.0.conv.unit0.conv.weight"]
    halvings = count(state, r"model\.(1\.submodule\.)*0\.conv\.unit0\.conv\.weight")
    channels = paired_channels(first.shape[1], state["model.2.1.conv.unit0.conv.weight"].shape[0])
    return {**channels, "width": first.shape[0], "levels": halvings + 1}


def build(inputs: int, channels: int, width: int, levels: int) -> nn.Module:
    """The network from ``inputs`` to ``channels``."""
    return ResidualUNet(channels, [width * 2**level for level in range(levels)], in_channels=inputs)


LAYOUT = CheckpointLayout("a regression U-Net of mtbench", lambda state: state, infer, build)


class RegressionRecipe(TranslationRecipe):
    """One network, one loss.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate now and then, B x C x H x W in [0, 1], sides that the network takes.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        with seeded(seed):
            inputs = fitting.inputs(preview, params)
            self.G = build(inputs, params["channels"] or 1, params["width"] or WIDTH, params["levels"] or LEVELS)
        self.squared = params["loss"] == "l2"
        super().__init__(params, preview, networks={"G": self.G}, optimisers={"G": adam(params, self.G.parameters())})

    def translated(self, source: Tensor) -> Tensor:
        """See the base class."""
        out: Tensor = self.G(source)
        return out

    def step(self, step: Step) -> None:
        """Towards the truth; the loss is in units of the stored range."""

        def losses(part: Part) -> Losses:
            out, truth = self.G(self.signed(part["source"])), self.signed(part["target"])
            if self.squared:
                return {"L2": ((out.float() - truth.float()) / 2).square().mean()}
            return {"L1": l1(out, truth) / 2}

        step.update("G", losses)


class RegressionUnet(GeneratorTranslator):
    """The mean or the median of the target images that fit a source: a U-Net without a discriminator.

    Residual units, batch norm, Adam at 1e-3 for 50 epochs and falling to zero over another 50, batch 4, pairs mirrored,
    both alike. Kept is the last network.

    Raises:
        ParamError: fewer than two levels.
    """

    name = "regression-unet"
    file = "regression_unet.pth"
    instance_norm = False

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        if (params["levels"] or LEVELS) < 2:
            raise ParamError(f"levels is {params['levels']}", where=self.name, expected="at least 2")

    @property
    def layout(self) -> CheckpointLayout:
        """See the base class."""
        return LAYOUT

    @property
    def multiple(self) -> int:  # type: ignore[override]
        """Of which the sides must be."""
        levels = self.sizes(self.network)["levels"] if self.network else self.params["levels"]
        return int(2 ** ((levels or LEVELS) - 1))

    @property
    def smallest(self) -> int:  # type: ignore[override]
        """Reflection adds less than the image has."""
        return max(8, self.multiple // 2 + 1)

    def fit(self, data: TrainingData, context: Context) -> None:
        """Train on pairs.

        Raises:
            DataError: there are no pairs, or images or crops that the network cannot take.
            TrainingError: see ``mtbench.training.train``.
        """
        source, _ = data.pairs()
        sampler = fitting.pairs(data, params=self.params, multiple=self.multiple, smallest=32, jitter=False)
        preview = self.padded(fitting.preview(data.source_validation, source).tensor())
        recipe = RegressionRecipe(self.params, derive(context.seed, "initial weights"), preview)
        self.network = recipe.G
        self.train(recipe, sampler, context, epochs=100)
