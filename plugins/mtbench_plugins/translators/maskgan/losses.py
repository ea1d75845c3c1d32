"""MaskGAN's losses of one step, weighted as they enter the total (Phan et al. 2023, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mtbench_plugins.translators._shared.adversarial import l1, least_squares
from mtbench_plugins.translators._shared.cycle import Fakes, Networks
from mtbench_plugins.translators.maskgan.networks import MaskedTranslation

ShapeLoss = Literal["paper", "code"]


@dataclass(frozen=True)
class MaskGanWeights:
    """Weights of the terms.

    Attributes:
        lambda_a, lambda_b, lambda_identity: as in CycleGAN.
        lambda_mask: of the background attention against the coarse mask.
        lambda_shape: of the background attention against that of the translation back, at this step.
        shape_loss: what the attention of G_B(b) is compared with. "paper": that of G_A(G_B(b)), its own translation
            back. "code": that of G_B(G_A(a)), as in the released code.
    """

    lambda_a: float = 10.0
    lambda_b: float = 10.0
    lambda_identity: float = 0.5
    lambda_mask: float = 1.0
    lambda_shape: float = 0.5
    shape_loss: ShapeLoss = "paper"


def generator_losses(
    nets: Networks, a: Tensor, b: Tensor, background_a: Tensor, background_b: Tensor, weights: MaskGanWeights
) -> tuple[dict[str, Tensor], Fakes]:
    """Losses of both generators and their translations.

    Args:
        nets: the four networks.
        a, b: images of the two domains, float32 B x C x H x W in [-1, 1].
        background_a, background_b: coarse masks, float32 B x 1 x H x W, 1 on background and 0 on anatomy.
        weights: of the terms.

    Returns:
        losses under the original's names, where mask and shape terms are named after the domain translated *to*; and
        the translations.
    """
    to_b: MaskedTranslation = nets.G_A(a)
    to_a: MaskedTranslation = nets.G_B(b)
    back_a: MaskedTranslation = nets.G_B(to_b.image)
    back_b: MaskedTranslation = nets.G_A(to_a.image)
    other = back_b if weights.shape_loss == "paper" else back_a
    losses = {
        "G_A": least_squares(nets.D_A(to_b.image), real=True),
        "G_B": least_squares(nets.D_B(to_a.image), real=True),
        "cycle_A": weights.lambda_a * l1(back_a.image, a),
        "cycle_B": weights.lambda_b * l1(back_b.image, b),
        "maskA": weights.lambda_mask * l1(to_a.background, background_b),
        "maskB": weights.lambda_mask * l1(to_b.background, background_a),
        "shapeA": weights.lambda_shape * l1(to_a.background, other.background),
        "shapeB": weights.lambda_shape * l1(to_b.background, back_a.background),
    }
    if weights.lambda_identity > 0:
        losses["idt_A"] = weights.lambda_b * weights.lambda_identity * l1(nets.G_A(b).image, b)
        losses["idt_B"] = weights.lambda_a * weights.lambda_identity * l1(nets.G_B(a).image, a)
    return losses, Fakes(to_a.image, to_b.image)
