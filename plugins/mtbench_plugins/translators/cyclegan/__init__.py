"""The translator ``cyclegan``."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """CycleGAN with the original's networks, losses and schedule."""
    yield mtbench.TranslatorSpec(
        "cyclegan",
        "mtbench_plugins.translators.cyclegan.model:CycleGan",
        params={
            **common.checkpoint("latest_net_G_A.pth"),
            **common.budget(epochs=200, decay=0.5),
            **common.adam(lr=2e-4, beta1=0.5, beta2=0.999),
            "pool_size": mtbench.Param(
                50, minimum=0, help="size of the pool of past translations for each discriminator"
            ),
            "lambda_A": mtbench.Param(10.0, minimum=0, help="weight of the cycle source, target, source"),
            "lambda_B": mtbench.Param(10.0, minimum=0, help="weight of the cycle target, source, target"),
            "lambda_identity": mtbench.Param(0.5, minimum=0, help="weight of the identity terms, times lambda_A or B"),
            **common.augmentation(jitter=True, flip=True),
            **common.channels(),
            **common.architecture(
                ngf="filters of the generators' first layer (default: 64, or as in the checkpoint)",
                n_blocks="residual blocks (default: 9, or as in the checkpoint)",
            ),
            "ndf": mtbench.Param(64, minimum=1, help="filters of the discriminators' first layer"),
            "n_layers_D": mtbench.Param(3, minimum=1, help="strided layers of the discriminators"),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        description="unpaired translation with cycle-consistent adversarial networks",
        citation="Zhu, Park, Isola, Efros: Unpaired image-to-image translation using cycle-consistent "
        "adversarial networks. ICCV 2017",
        licence="original code: BSD-2-Clause; released weights: no terms stated",
        notes=common.notes("CycleGAN's code is under a BSD licence; its released weights state no terms."),
    )
