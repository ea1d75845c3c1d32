"""The translator ``maskgan``."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """MaskGAN with the paper's losses and the settings of its README."""
    yield mtbench.TranslatorSpec(
        "maskgan",
        "mtbench_plugins.translators.maskgan.model:MaskGan",
        params={
            **common.checkpoint("best_net_G_A.pth"),
            **common.budget(epochs=80, decay=0.5, batch_size=4),
            **common.adam(lr=2e-4, beta1=0.5, beta2=0.999),
            "pool_size": mtbench.Param(
                50, minimum=0, help="size of the pool of past translations for each discriminator"
            ),
            "lambda_A": mtbench.Param(10.0, minimum=0, help="weight of the cycle source, target, source"),
            "lambda_B": mtbench.Param(10.0, minimum=0, help="weight of the cycle target, source, target"),
            "lambda_identity": mtbench.Param(0.5, minimum=0, help="weight of the identity terms, times lambda_A or B"),
            "lambda_mask": mtbench.Param(
                1.0, minimum=0, help="weight of the term that compares background attention with the coarse mask"
            ),
            "lambda_shape": mtbench.Param(
                0.5, minimum=0, help="weight of the shape term at the end of training; it grows linearly from 0"
            ),
            "shape_loss": mtbench.Param(
                "paper",
                choices=("paper", "code"),
                help="shape term as defined in the paper, or as in the released code",
            ),
            "mask_threshold": mtbench.Param(
                None,
                "float",
                minimum=0,
                maximum=1,
                help="grey value that separates anatomy from background (default: 10/255; CT: -250 HU)",
            ),
            "mask_dilation": mtbench.Param(
                None,
                "int",
                minimum=0,
                help="dilation of the coarse masks in pixels (default: 10/224 of the longer side)",
            ),
            "position_based_range": mtbench.Param(
                3.0,
                minimum=0,
                maximum=100,
                help="largest distance between the slices of a pair, in per cent of the volume; 100: any pair",
            ),
            **common.augmentation(jitter=False, flip=False),
            **common.channels(),
            **common.architecture(
                ngf="filters of the generators' first layer (default: 64, or as in the checkpoint)",
                n_blocks="residual blocks (default: 9, or as in the checkpoint)",
                n_attentions="attention maps, including the background's (default: 5, or as in the checkpoint)",
            ),
            "ndf": mtbench.Param(64, minimum=1, help="filters of the discriminators' first layer"),
            "n_layers_D": mtbench.Param(3, minimum=1, help="strided layers of the discriminators"),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        description="CycleGAN with attention, guided by coarse masks computed from the images",
        citation="Phan, Liao, Verjans, To: Structure-preserving synthesis: MaskGAN for unpaired MR-CT "
        "translation. MICCAI 2023",
        licence="original code and weights: no licence, all rights reserved",
        notes=common.notes("MaskGAN's code and weights come without a licence: all rights reserved by its authors."),
    )
