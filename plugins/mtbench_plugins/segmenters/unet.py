"""U-Net segmenters: their names and parameters."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_segmenters() -> Iterator[mtbench.SegmenterSpec]:
    """The segmenters ``unet`` and ``unet-lab``."""
    yield mtbench.SegmenterSpec(
        "unet",
        "mtbench_plugins.segmenters.unet_model:UNetSegmenter",
        description="2-D residual U-Net as MONAI's, Dice and cross-entropy, best epoch on validation Dice",
        params={
            "per": mtbench.Param(
                "task",
                choices=("task", "region"),
                help="one network for all labels, or one for each region of the task",
            ),
            "epochs": mtbench.Param(100, minimum=1, help="at most; see patience"),
            "lr": mtbench.Param(1e-3, minimum=0.0, help="learning rate of AdamW"),
            "batch_size": mtbench.Param(8, minimum=1, help="training slices a step"),
            "filters": mtbench.Param(32, minimum=1, help="channels of the first level, doubled at each level"),
            "levels": mtbench.Param(5, minimum=2, maximum=8, help="resolutions, each half of the one before"),
            "patience": mtbench.Param(15, minimum=1, help="epochs without a better validation Dice"),
            "augment": mtbench.Param(
                "shift", choices=("none", "shift", "flip", "shift+flip"), help="shift: by up to 1/16 of the size"
            ),
            "epoch_length": mtbench.Param(
                None, kind="int", minimum=1, help="training slices an epoch; by default all of them once"
            ),
        },
        shorthand="per",
        citation="Kerfoot et al., Left-Ventricle Quantification Using Residual U-Net, STACOM 2018 (MONAI's UNet)",
    )
    yield mtbench.SegmenterSpec(
        "unet-lab",
        "mtbench_plugins.segmenters.unet_lab:LabUNetSegmenter",
        description="plain U-Net with the settings known of the paper's lab, one network for each region",
        params={
            "epochs": mtbench.Param(100, minimum=1, help="at most; see patience"),
            "lr": mtbench.Param(0.01, minimum=0.0, help="learning rate of Adam"),
            "weight_decay": mtbench.Param(1e-4, minimum=0.0, help="of Adam"),
            "batch_size": mtbench.Param(8, minimum=1, help="training slices a step"),
            "filters": mtbench.Param(64, minimum=1, help="channels of the first level, doubled at each level"),
            "levels": mtbench.Param(5, minimum=2, maximum=8, help="encoding blocks, the lowest one included"),
            "patience": mtbench.Param(5, minimum=1, help="epochs without a better validation Dice"),
            "seed": mtbench.Param(1338, minimum=0, help="mixed with the segmenter's seed"),
        },
        citation="Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
    )
