"""The translator ``unsb``."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """UNSB with the networks, losses and schedule of the released code."""
    yield mtbench.TranslatorSpec(
        "unsb",
        "mtbench_plugins.translators.unsb.model:Unsb",
        params={
            **common.checkpoint("latest_net_G.pth"),
            "nfe": mtbench.Param(
                None, "int", minimum=1, help="evaluations of the generator per translation (default: num_timesteps)"
            ),
            "num_timesteps": mtbench.Param(
                5, minimum=2, help="steps of the bridge; with a checkpoint: those of its training"
            ),
            "tau": mtbench.Param(0.01, minimum=0, help="variance of the bridge's noise"),
            "time_conditioning": mtbench.Param(
                "released",
                choices=("released", "corrected"),
                help="released: the generator ignores the time step, as in the released code and all its weights; "
                "corrected: its blocks use it",
            ),
            **common.budget(epochs=400, decay=0.5),
            **common.adam(lr=2e-4, beta1=0.5, beta2=0.999),
            "lambda_GAN": mtbench.Param(1.0, minimum=0, help="weight of the adversarial term"),
            "lambda_SB": mtbench.Param(1.0, minimum=0, help="weight of the bridge term"),
            "lambda_NCE": mtbench.Param(1.0, minimum=0, help="weight of the patch-wise contrast"),
            "nce_layers": mtbench.Param(
                [0, 4, 8, 12, 16], help="feature layers of the contrast; layers beyond the last are ignored"
            ),
            "num_patches": mtbench.Param(256, minimum=2, help="patches per layer"),
            "netF_nc": mtbench.Param(256, minimum=1, help="width of the patch projection"),
            **common.augmentation(jitter=True, flip=True),
            **common.channels(),
            **common.architecture(
                ngf="filters of the generator's first layer (default: 64, or as in the checkpoint)",
                n_blocks="residual blocks (default: 9, or as in the checkpoint)",
            ),
            "ndf": mtbench.Param(64, minimum=1, help="filters of the discriminator's and energy network's first layer"),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        stochastic=True,
        description="unpaired neural Schroedinger bridge: a few steps from source to target image",
        citation="Kim, Kwon, Kim, Ye: Unpaired image-to-image translation via neural Schroedinger bridge. ICLR 2024",
        licence="original code: MIT; released weights: no terms stated",
        notes=common.notes("UNSB's code is under the MIT licence; its released weights state no terms."),
    )
