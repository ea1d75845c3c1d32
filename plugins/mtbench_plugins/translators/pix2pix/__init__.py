"""The translator ``pix2pix``."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """pix2pix with the original's networks, losses and schedule."""
    yield mtbench.TranslatorSpec(
        "pix2pix",
        "mtbench_plugins.translators.pix2pix.model:Pix2Pix",
        params={
            **common.checkpoint("latest_net_G.pth"),
            **common.budget(epochs=200, decay=0.5),
            **common.adam(lr=2e-4, beta1=0.5, beta2=0.999),
            "lambda_L1": mtbench.Param(100.0, minimum=0, help="weight of the mean absolute difference to the truth"),
            "dropout": mtbench.Param(True, help="train with dropout of one half; translation uses none"),
            **common.augmentation(jitter=True, flip=True),
            **common.channels(),
            "netG": mtbench.Param(
                None, "str", choices=("unet", "resnet"), help="generator (unet; of a checkpoint: the file's)"
            ),
            **common.architecture(
                ngf="filters of the generator's first layer (64; of a checkpoint: the file's)",
                n_downs="halvings in the U-Net (as often as the image's sides can be halved, at most 8)",
                n_blocks="residual blocks of the resnet (9; of a checkpoint: the file's)",
            ),
            "ndf": mtbench.Param(64, minimum=1, help="filters of the discriminator's first layer"),
            "n_layers_D": mtbench.Param(3, minimum=1, help="strided layers of the discriminator"),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        paired=True,
        several_channels=True,
        description="paired translation by a conditional adversarial network",
        citation="Isola, Zhu, Zhou, Efros: Image-to-image translation with conditional adversarial networks. CVPR 2017",
        licence="original code: BSD-2-Clause; released weights: no terms of their own",
        notes=common.notes("pix2pix's code is under a BSD licence; its released weights state no terms."),
    )
