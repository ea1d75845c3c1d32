"""Feature networks that are trained on the task's own target slices: their names and parameters."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    """The extractors ``segmenter-bottleneck`` and ``self-supervised``."""
    yield mtbench.ExtractorSpec(
        "segmenter-bottleneck",
        of_segmenter=True,
        description="channels of the lowest level of the suite's target-trained segmenter, averaged over pixels",
        caveat="features of the segmenter that also predicts the labels for Dice: circular as evidence about Dice",
    )
    yield mtbench.ExtractorSpec(
        "self-supervised",
        "mtbench_plugins.extractors.self_supervised:SelfSupervised",
        description="a small convolutional encoder trained by VICReg on the target's training slices, without labels",
        citation="Bardes, Ponce and LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised "
        "Learning, ICLR 2022",
        trains=True,
        params={
            "size": mtbench.Param(64, minimum=16, help="images are resized to this many pixels on each side"),
            "width": mtbench.Param(32, minimum=1, help="channels of the first level; four times as many features"),
            "steps": mtbench.Param(200, minimum=1, help="training steps"),
            "batch_size": mtbench.Param(64, minimum=2, help="slices per step, each in two views"),
            "lr": mtbench.Param(1e-3, minimum=0.0, help="learning rate of AdamW at the start, then a cosine"),
        },
    )
