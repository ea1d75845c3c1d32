"""The translators ``cut`` and ``fastcut``: one model, two presets."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """CUT and FastCUT with the original's networks, losses and schedules."""
    yield _preset("cut", "unpaired translation by the contrast of patches", epochs=400, decay=0.5, nce=1.0, idt=True)
    yield _preset(
        "fastcut",
        "CUT without its identity term: faster, in training and in memory",
        epochs=200,
        decay=0.25,
        nce=10.0,
        idt=False,
    )


def _preset(name: str, description: str, *, epochs: int, decay: float, nce: float, idt: bool) -> mtbench.TranslatorSpec:
    return mtbench.TranslatorSpec(
        name,
        f"mtbench_plugins.translators.cut.model:{'Cut' if idt else 'FastCut'}",
        params={
            **common.checkpoint("latest_net_G.pth"),
            **common.budget(epochs=epochs, decay=decay),
            **common.adam(lr=2e-4, beta1=0.5, beta2=0.999),
            "lambda_GAN": mtbench.Param(1.0, minimum=0, help="weight of the adversarial term"),
            "lambda_NCE": mtbench.Param(nce, minimum=0, help="weight of the patch-wise contrast"),
            "nce_idt": mtbench.Param(idt, help="contrast target images with their own translations, too"),
            "flip_equivariance": mtbench.Param(not idt, help="translate a mirrored image in half of the steps"),
            "nce_layers": mtbench.Param([0, 4, 8, 12, 16], help="feature layers of the contrast that exist are used"),
            "num_patches": mtbench.Param(256, minimum=2, help="patches a layer"),
            "netF_nc": mtbench.Param(256, minimum=1, help="width of the patch projection"),
            **common.augmentation(jitter=True, flip=True),
            **common.channels(),
            **common.architecture(
                ngf="filters of the generator's first layer (64; of a checkpoint: the file's)",
                n_blocks="residual blocks (9; of a checkpoint: the file's)",
            ),
            "ndf": mtbench.Param(64, minimum=1, help="filters of the discriminator's first layer"),
            "n_layers_D": mtbench.Param(3, minimum=1, help="halving layers of the discriminator"),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        description=description,
        citation="Park, Efros, Zhang, Zhu: Contrastive learning for unpaired image-to-image translation. ECCV 2020",
        licence="original code: BSD-2-Clause; released weights: no terms of their own",
        notes=common.notes("CUT's code is under a BSD licence; its released weights state no terms."),
    )
