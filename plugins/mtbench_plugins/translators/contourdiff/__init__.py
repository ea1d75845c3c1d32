"""The translator ``contourdiff``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mtbench
from mtbench_plugins.translators._shared import common
from mtbench_plugins.translators.contourdiff.folder import locate

_note = common.notes(
    "ContourDiff's code is under the Apache licence 2.0; weights trained with it state their own terms."
)


def notes(params: Mapping[str, Any]) -> str:
    """The note on a checkpoint, with the name and the hash of the weight file in its folder."""
    path = params.get("checkpoint")
    return _note({"checkpoint": None if path is None else locate(Path(path)) or path})


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """ContourDiff with the network, contours and schedule of the released code, without adjacent-slice guidance."""
    yield mtbench.TranslatorSpec(
        "contourdiff",
        "mtbench_plugins.translators.contourdiff.model:create",
        params={
            "checkpoint": mtbench.Param(
                None,
                "path",
                role="checkpoint",
                help="a folder of the original (model_epoch_400, or unet in it) to use instead of training",
            ),
            "sampler": mtbench.Param("ddim", choices=("ddim", "ddpm"), help="sampling with DDIM or DDPM"),
            "denoise_step": mtbench.Param(50, minimum=1, help="steps of sampling"),
            "noise_step": mtbench.Param(
                1000, minimum=1, help="steps of the diffusion in training; with a checkpoint: of its training"
            ),
            "candidates": mtbench.Param(1, minimum=1, help="samples per slice, of which one is taken"),
            "choice": mtbench.Param(
                "mean",
                choices=("mean", "neighbour"),
                help="take the darkest candidate, or the nearest to the slice before it in the volume",
            ),
            "stretch": mtbench.Param(
                True, help="map the minimum and maximum of each translation to black and white, as the original does"
            ),
            "low_threshold": mtbench.Param(
                80.0, minimum=0, help="Canny's lower threshold, on 8-bit images; with a checkpoint: of its training"
            ),
            "high_threshold": mtbench.Param(150.0, minimum=0, help="Canny's upper threshold, likewise"),
            "remove_artifact": mtbench.Param(False, help="blacken all but large bright objects before the contours"),
            "min_size": mtbench.Param(8000, minimum=0, help="pixels of the smallest object that stays"),
            "area_threshold": mtbench.Param(3000, minimum=0, help="pixels of the smallest hole that stays open"),
            **common.budget(epochs=400, decay=None, batch_size=4),
            **common.adam(lr=1e-4, beta1=0.9, beta2=0.999),
            "warmup": mtbench.Param(500, minimum=0, help="steps in which the learning rate rises, before its cosine"),
            "shift": mtbench.Param(True, help="shift images at random by up to an eighth of their side"),
            "flip": mtbench.Param(True, help="mirror images left-right at random"),
            "affine": mtbench.Param(
                0.9, minimum=0, maximum=1, help="share of images that is stretched, rotated, moved, scaled and sheared"
            ),
            **common.architecture(
                width="channels of the first level, doubled at every second (128; of a checkpoint: the folder's)",
                levels="levels, each of half the size (6; of a checkpoint: the folder's)",
            ),
        },
        trains=common.trains,
        keeps_checkpoints=True,
        stochastic=True,
        description="unpaired diffusion model of the target domain, guided by the contours of the source slice",
        citation="Chen, Konz, Gu, Dong, Chen, Li, Lee, Mazurowski: ContourDiff: unpaired image-to-image translation "
        "with contour-guided diffusion models. arXiv 2403.10786, 2024",
        licence="original code: Apache-2.0",
        notes=notes,
    )
