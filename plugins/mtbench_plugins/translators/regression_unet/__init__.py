"""The translator ``regression-unet``."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """A U-Net that predicts the target image, without a discriminator."""
    yield mtbench.TranslatorSpec(
        "regression-unet",
        "mtbench_plugins.translators.regression_unet.model:RegressionUnet",
        params={
            **common.checkpoint("regression_unet.pth, as mtbench saves it"),
            **common.budget(epochs=100, decay=0.5, batch_size=4),
            **common.adam(lr=1e-3, beta1=0.9, beta2=0.999),
            "loss": mtbench.Param("l1", choices=("l1", "l2"), help="mean absolute or mean squared difference"),
            **common.augmentation(jitter=False, flip=True),
            **common.channels(),
            **common.architecture(
                width="filters of the first level, doubled at each (16; of a checkpoint: the file's)",
                levels="levels, each of half the size (5; of a checkpoint: the file's)",
            ),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        paired=True,
        several_channels=True,
        description="paired regression by a residual U-Net, the baseline for paired tasks",
        citation="Kerfoot, Clough, Oksuz, Lee, King, Schnabel: Left-ventricle quantification using residual U-Net. "
        "STACOM 2018 (the network)",
    )
