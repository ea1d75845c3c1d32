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
        description="2-D residual U-Net (as MONAI's), Dice and cross-entropy, best epoch by validation Dice",
        arrays=("features",),
        params={
            "per": mtbench.Param(
                "task",
                choices=("task", "region"),
                help="task: one network for all labels; region: one network per region",
            ),
            "epochs": mtbench.Param(100, minimum=1, help="maximum number of epochs; see patience"),
            "lr": mtbench.Param(1e-3, minimum=0.0, help="learning rate of AdamW"),
            "batch_size": mtbench.Param(8, minimum=1, help="training slices per step"),
            "filters": mtbench.Param(32, minimum=1, help="channels of the first level, doubled at each level"),
            "levels": mtbench.Param(5, minimum=2, maximum=8, help="resolutions, each half of the one before"),
            "patience": mtbench.Param(
                15, minimum=1, help="stop after this many epochs without a better validation Dice"
            ),
            "augment": mtbench.Param(
                "shift",
                choices=("none", "shift", "flip", "shift+flip"),
                help="augmentation; shift: by up to 1/16 of the size; flip: left-right",
            ),
            "epoch_length": mtbench.Param(
                None, kind="int", minimum=1, help="training slices per epoch (default: all once)"
            ),
        },
        shorthand="per",
        citation="Kerfoot et al., Left-Ventricle Quantification Using Residual U-Net, STACOM 2018 (MONAI's UNet)",
    )
    yield mtbench.SegmenterSpec(
        "unet-lab",
        "mtbench_plugins.segmenters.unet_lab:LabUNetSegmenter",
        description="plain U-Net with the known settings of the paper's lab, one network per region",
        arrays=("features",),
        params={
            "epochs": mtbench.Param(100, minimum=1, help="maximum number of epochs; see patience"),
            "lr": mtbench.Param(0.01, minimum=0.0, help="learning rate of Adam"),
            "weight_decay": mtbench.Param(1e-4, minimum=0.0, help="weight decay of Adam"),
            "batch_size": mtbench.Param(8, minimum=1, help="training slices per step"),
            "filters": mtbench.Param(64, minimum=1, help="channels of the first level, doubled at each level"),
            "levels": mtbench.Param(5, minimum=2, maximum=8, help="encoder blocks, including the lowest"),
            "patience": mtbench.Param(
                5, minimum=1, help="stop after this many epochs without a better validation Dice"
            ),
            "seed": mtbench.Param(1338, minimum=0, help="mixed with the segmenter's seed"),
        },
        citation="Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015",
    )
