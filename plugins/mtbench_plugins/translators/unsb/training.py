"""UNSB's training: simulate the bridge to a random step, then D, E, and the generator with F."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtbench.compute.seeds import derive
from mtbench.compute.transfer import to_device
from mtbench.training import Losses, Part, Sampler, Step, no_grad, seeded
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.contrast import PatchProjection, draw_positions
from mtbench_plugins.translators._shared.recipe import TranslationRecipe, adam
from mtbench_plugins.translators.unsb import losses
from mtbench_plugins.translators.unsb.bridge import Bridge, Draw
from mtbench_plugins.translators.unsb.discriminators import TimedPatchGAN
from mtbench_plugins.translators.unsb.generator import ENCODER_LAYERS, BridgeGenerator


class TwoSources:
    """An unpaired sampler's batches with a second, independent draw of source images, "source2"."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def __len__(self) -> int:
        return len(self._sampler)

    def batch(self, seed: int, epoch: int, positions: Sequence[int]) -> dict[str, Tensor]:
        """See ``mtbench.training.Sampler``."""
        second = self._sampler.batch(derive(seed, "second source"), epoch, positions)
        return {**self._sampler.batch(seed, epoch, positions), "source2": second["source"]}


class UnsbRecipe(TranslationRecipe):
    """Generator, discriminator, energy network and patch projection, each with its optimiser.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate at intervals, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        channels, blocks = params["channels"] or 1, params["n_blocks"] or 9
        self.layers = sorted({int(n) for n in params["nce_layers"] if int(n) < ENCODER_LAYERS + blocks})
        with seeded(seed):
            timed = params["time_conditioning"] == "corrected"
            self.G = BridgeGenerator(channels, params["ngf"] or 64, blocks, timed)
            self.D = TimedPatchGAN(channels, params["ndf"])
            self.E = TimedPatchGAN(4 * channels, params["ndf"])
            self.F = PatchProjection(self.G.widths(self.layers), params["netF_nc"])
            networks: dict[str, nn.Module] = {"G": self.G, "D": self.D, "E": self.E, "F": self.F}
            for network in networks.values():
                init.xavier(network)
        self.bridge = Bridge(params["num_timesteps"], params["tau"], self.G.z_width)
        self.weights = losses.UnsbWeights(*(params[n] for n in ("lambda_GAN", "lambda_SB", "lambda_NCE", "tau")))
        self.patches = params["num_patches"]
        super().__init__(
            params,
            preview,
            networks=networks,
            optimisers={
                name: adam(params, [p for p in network.parameters() if p.requires_grad])
                for name, network in networks.items()
            },
        )

    def step(self, step: Step) -> None:
        """One walk for all; then D, E, and G together with F."""
        at = int(step.rng.integers(self.bridge.num_timesteps))
        step.forward(lambda part: self._walk(part, at))
        step.update("D", lambda part: {"D": losses.discriminator_loss(self.D, part["b"], part["walk"])})
        step.update("E", lambda part: {"E": losses.energy_loss(self.E, part["walk"])})
        step.update(["G", "F"], self._generator_losses)

    def translated(self, source: Tensor) -> Tensor:
        """See the base class."""
        *_, (_, translation) = self.bridge.walk(self.G, source, self.bridge.num_timesteps, _noise(source))
        return translation

    def _walk(self, part: Part, at: int) -> None:
        """Walk from two sources and from the target to step ``at``, then predict with gradients, in one batch."""
        part["a"], part["b"] = self.signed(part["source"]), self.signed(part["target"])
        starts = torch.cat([part["a"], self.signed(part["source2"]), part["b"]])
        with no_grad():
            points = self.bridge.reach(self.G, starts, at, _noise(starts))
        fake, fake2, part["idt"] = self.bridge.predict(self.G, points, at, _noise(starts)).chunk(3)
        x, x2, _ = points.chunk(3)
        part["walk"] = losses.WalkPair(at, self.bridge.num_timesteps, x, x2, fake, fake2)

    def _generator_losses(self, part: Part) -> Losses:
        weights, pair = self.weights, part["walk"]
        terms = {
            "G_GAN": weights.lambda_gan * losses.adversarial_loss(self.D, pair),
            "SB": losses.bridge_loss(self.E, pair, weights),
        }
        if weights.lambda_nce > 0:
            # The original halves their sum.
            terms["NCE"] = 0.5 * weights.lambda_nce * self._contrast(part["a"], pair.fake)
            terms["NCE_Y"] = 0.5 * weights.lambda_nce * self._contrast(part["b"], part["idt"])
        return terms

    def _contrast(self, source: Tensor, translated: Tensor) -> Tensor:
        sizes = self.G.map_sizes(source.shape[2], source.shape[3], self.layers)
        where = draw_positions(sizes, self.patches, str(source.device))
        z = _noise(source)((self.bridge.z_width,))
        return losses.contrast_loss(self.G, self.F, source, translated, z, self.layers, where)


def _noise(like: Tensor) -> Draw:
    """Noise drawn on the CPU, so that a fit on a GPU draws the same."""
    return lambda shape: to_device(torch.randn((len(like), *shape)), str(like.device))
