"""The translator ``spade``."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench
from mtbench_plugins.translators._shared import common


def supports(task: mtbench.Task) -> str | None:
    """Why SPADE cannot take part in a task."""
    missing = [domain for domain in ("source", "target") if domain not in task.masks]
    if missing:
        return f"it generates images from label maps, and the {' and '.join(missing)} domain has none"
    return None if task.labels else "it generates images from label maps, and the task has no labels"


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """SPADE with the original's networks, losses and schedule, without encoder and instance edges."""
    yield mtbench.TranslatorSpec(
        "spade",
        "mtbench_plugins.translators.spade.model:Spade",
        params={
            **common.checkpoint("latest_net_G.pth"),
            **common.budget(epochs=50, decay=0.0),
            **common.adam(lr=2e-4, beta1=0.0, beta2=0.9),
            "ttur": mtbench.Param(True, help="half the learning rate for the generator, twice for the discriminator"),
            "lambda_feat": mtbench.Param(10.0, minimum=0, help="weight of feature matching"),
            "lambda_vgg": mtbench.Param(
                10.0, minimum=0, help="weight of the VGG loss, which is omitted if its weights are not installed"
            ),
            **common.augmentation(jitter=True, flip=True),
            **common.channels(),
            **common.architecture(
                ngf="filters of the generator's last stage (default: 64, or as in the checkpoint)",
                nhidden="filters between label map and modulation (default: 128, or as in the checkpoint)",
            ),
            "ndf": mtbench.Param(64, minimum=1, help="filters of the discriminators' first stage"),
            "n_layers_D": mtbench.Param(4, minimum=2, help="stages of each discriminator before its last"),
            "num_D": mtbench.Param(2, minimum=1, help="discriminators, each at half the scale of the one before"),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        conditional=True,
        supports=supports,
        several_channels=True,  # it reads masks, not the source image
        description="generates target images from label maps with spatially-adaptive normalisation",
        citation="Park, Liu, Wang, Zhu: Semantic image synthesis with spatially-adaptive normalization. CVPR 2019",
        licence="original code and released weights: CC BY-NC-SA 4.0, non-commercial",
        notes=common.notes(
            "SPADE's released weights are under CC BY-NC-SA 4.0: academic research only, no commercial use."
        ),
    )
