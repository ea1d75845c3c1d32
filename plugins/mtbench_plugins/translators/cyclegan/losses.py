"""CycleGAN's losses of one step, weighted as they enter the total (Zhu et al. 2017, eq. 1 to 3 and 5.2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mtbench_plugins.translators._shared.adversarial import l1, least_squares
from mtbench_plugins.translators._shared.cycle import Fakes, Networks


@dataclass(frozen=True)
class CycleGanWeights:
    """``lambda_a`` and ``lambda_b`` weigh the cycles; ``lambda_identity`` the identity terms, relative to them."""

    lambda_a: float = 10.0
    lambda_b: float = 10.0
    lambda_identity: float = 0.5


def generator_losses(nets: Networks, a: Tensor, b: Tensor, weights: CycleGanWeights) -> tuple[dict[str, Tensor], Fakes]:
    """Losses of both generators and their translations.

    Args:
        nets: the four networks.
        a, b: images of the two domains, float32 B x C x H x W in [-1, 1].
        weights: of the terms.
    """
    fake_b, fake_a = nets.G_A(a), nets.G_B(b)
    losses = {
        "G_A": least_squares(nets.D_A(fake_b), real=True),
        "G_B": least_squares(nets.D_B(fake_a), real=True),
        "cycle_A": weights.lambda_a * l1(nets.G_B(fake_b), a),
        "cycle_B": weights.lambda_b * l1(nets.G_A(fake_a), b),
    }
    if weights.lambda_identity > 0:
        losses["idt_A"] = weights.lambda_b * weights.lambda_identity * l1(nets.G_A(b), b)
        losses["idt_B"] = weights.lambda_a * weights.lambda_identity * l1(nets.G_B(a), a)
    return losses, Fakes(fake_a, fake_b)
