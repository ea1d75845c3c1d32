"""UNSB's training: simulate the bridge to a random step, then D, E, and the generator with F."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from mtbench.compute.seeds import derive
from mtbench.compute.transfer import to_device
from mtbench.training import (
    Losses,
    Moment,
    Part,
    Recipe,
    Sampler,
    Step,
    linear_decay,
    no_grad,
    scale_rates,
    seeded,
    signed,
    unsigned,
)
from mtbench_plugins.translators._shared import init
from mtbench_plugins.translators._shared.layers import channels_last
from mtbench_plugins.translators.unsb import losses
from mtbench_plugins.translators.unsb.bridge import Bridge, Draw
from mtbench_plugins.translators.unsb.discriminators import TimedPatchGAN
from mtbench_plugins.translators.unsb.generator import ENCODER_LAYERS, BridgeGenerator, PatchProjection


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


class UnsbRecipe(Recipe):
    """Generator, discriminator, energy network and patch projection, each with its optimiser.

    Args:
        params: of the translator.
        seed: of the initial weights.
        preview: images to translate at intervals, B x 1 x H x W in [0, 1], sides multiples of 4.
    """

    def __init__(self, params: Mapping[str, Any], seed: int, preview: Tensor) -> None:
        self.channels = params["channels"] or 1
        blocks = params["n_blocks"] or 9
        self.layers = sorted({int(n) for n in params["nce_layers"] if int(n) < ENCODER_LAYERS + blocks})
        with seeded(seed):
            timed = params["time_conditioning"] == "corrected"
            self.G = BridgeGenerator(self.channels, params["ngf"] or 64, blocks, timed)
            self.D = TimedPatchGAN(self.channels, params["ndf"])
            self.E = TimedPatchGAN(4 * self.channels, params["ndf"])
            self.F = PatchProjection(self.G.widths(self.layers), params["netF_nc"])
            networks: dict[str, nn.Module] = {"G": self.G, "D": self.D, "E": self.E, "F": self.F}
            for network in networks.values():
                init.xavier(network)
        self.bridge = Bridge(params["num_timesteps"], params["tau"], self.G.z_width)
        self.weights = losses.UnsbWeights(*(params[n] for n in ("lambda_GAN", "lambda_SB", "lambda_NCE", "tau")))
        self.patches = params["num_patches"]
        self.hold = 1.0 - params["decay"]
        self.preview = preview
        adam = {"lr": params["lr"], "betas": (params["beta1"], params["beta2"])}
        super().__init__(
            networks=networks,
            optimisers={
                name: Adam([p for p in network.parameters() if p.requires_grad], **adam)
                for name, network in networks.items()
            },
        )

    def schedule(self, moment: Moment) -> None:
        """Constant, then linearly to zero."""
        scale_rates(self.optimisers.values(), linear_decay(moment, self.hold))

    def step(self, step: Step) -> None:
        """One walk for all; then D, E, and G together with F."""
        at = int(step.rng.integers(self.bridge.num_timesteps))
        step.forward(lambda part: self._walk(part, at))
        step.update("D", lambda part: {"D": losses.discriminator_loss(self.D, part["b"], part["walk"])})
        step.update("E", lambda part: {"E": losses.energy_loss(self.E, part["walk"])})
        step.update(["G", "F"], self._generator_losses)

    def samples(self, moment: Moment) -> Mapping[str, Tensor]:
        """The preview and its translation."""
        source = to_device(self.preview, str(next(self.G.parameters()).device))
        start, steps = self.signed(source), self.bridge.num_timesteps
        *_, (_, translation) = self.bridge.walk(self.G, start, steps, _noise(start))
        return {"source": source, "translated": unsigned(translation.float().mean(dim=1, keepdim=True))}

    def signed(self, images: Tensor) -> Tensor:
        """B x 1 x H x W in [0, 1] to B x C x H x W in [-1, 1]."""
        return channels_last(signed(images).expand(-1, self.channels, -1, -1))

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
        positions = losses.draw_positions(sizes, self.patches)
        # One copy for all layers.
        where = torch.split(to_device(torch.cat(positions), str(source.device)), [len(p) for p in positions])
        z = _noise(source)((self.bridge.z_width,))
        return losses.contrast_loss(self.G, self.F, source, translated, z, self.layers, where)


def _noise(like: Tensor) -> Draw:
    """Noise drawn on the CPU, so that a fit on a GPU draws the same."""
    return lambda shape: to_device(torch.randn((len(like), *shape)), str(like.device))
