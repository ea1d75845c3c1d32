"""CUT's losses of one step, weighted as they enter the total (Park et al. 2020, eq. 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from mtbench.training import no_grad
from mtbench_plugins.translators._shared.adversarial import least_squares
from mtbench_plugins.translators._shared.contrast import PatchProjection, contrast_loss
from mtbench_plugins.translators._shared.resnet import ResnetGenerator

Draw = Callable[[Sequence[tuple[int, int]]], Sequence[Tensor]]
"""Given the height and width of each layer's map: the flat positions of its patches."""


@dataclass(frozen=True)
class CutWeights:
    """Weights of the adversarial term and of the contrast; with ``identity`` the contrast is the mean of two."""

    lambda_gan: float = 1.0
    lambda_nce: float = 1.0
    identity: bool = True


@dataclass(frozen=True)
class Contrast:
    """What the contrast is computed with: the generator, whose first half is the encoder, F, and feature layers."""

    generator: ResnetGenerator
    projection: PatchProjection
    layers: Sequence[int]
    draw: Draw

    def __call__(self, image: Tensor, translation: Tensor, flipped: bool = False) -> Tensor:
        """Unweighted; a translation of the ``flipped`` image has its maps mirrored back."""
        with no_grad():
            keys = self.generator.features(image, self.layers)
        queries = self.generator.features(translation, self.layers)
        if flipped:
            queries = [map_.flip(-1) for map_ in queries]
        positions = self.draw([(map_.shape[-2], map_.shape[-1]) for map_ in keys])
        return contrast_loss(self.projection, queries, keys, positions)


@dataclass(frozen=True)
class Translations:
    """Images of a step: ``a`` and ``b`` of the two domains, their translations, and whether these are mirrored."""

    a: Tensor
    b: Tensor
    fake_b: Tensor
    idt_b: Tensor | None = None
    flipped: bool = False


def generator_losses(
    discriminator: nn.Module, contrast: Contrast, images: Translations, weights: CutWeights
) -> dict[str, Tensor]:
    """Losses of the generator and F.

    Args:
        discriminator: of the target domain.
        contrast: computes the contrast.
        images: float32 B x C x H x W in [-1, 1]; ``idt_b`` is needed with the identity term.
        weights: of the terms.
    """
    losses = {"G_GAN": weights.lambda_gan * least_squares(discriminator(images.fake_b), real=True)}
    if weights.lambda_nce > 0:
        # The original takes the mean of the two contrasts.
        share = 0.5 * weights.lambda_nce if weights.identity else weights.lambda_nce
        losses["NCE"] = share * contrast(images.a, images.fake_b, images.flipped)
        if weights.identity:
            assert images.idt_b is not None
            losses["NCE_Y"] = share * contrast(images.b, images.idt_b, images.flipped)
    return losses
