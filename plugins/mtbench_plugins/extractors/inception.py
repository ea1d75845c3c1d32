"""The Inception v3 feature networks: their names and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mtbench
from mtbench_plugins.extractors.conventions import DEFAULTS, RESIZINGS, SCALINGS

_ARRAYS = ("pool", "logits")
_SZEGEDY = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016"


def _convention(name: str) -> dict[str, Any]:
    default = DEFAULTS[name]
    return {
        "resize": mtbench.Param(default["resize"], choices=RESIZINGS, help="how images are resized to 299 x 299"),
        "scaling": mtbench.Param(
            default["scaling"], choices=SCALINGS, help="(x - 128) / 128, or x / 127.5 - 1, of levels 0..255"
        ),
        "quantise": mtbench.Param(default["quantise"], help="round to 8-bit levels first"),
    }


def _weights() -> mtbench.Param:
    return mtbench.Param(
        None, kind="path", role="weights", help="a state dict of this network to use instead of the catalogued file"
    )


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    """The extractors ``inception-fid``, ``inception-imagenet`` and ``inception-random``."""
    yield mtbench.ExtractorSpec(
        "inception-fid",
        "mtbench_plugins.extractors.inception_extractors:InceptionFid",
        description="the network of the published FID, KID and IS (TensorFlow, 2015)",
        citation=f"Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017; {_SZEGEDY}",
        licence="Apache-2.0",
        params={**_convention("inception-fid"), "weights": _weights()},
        arrays=_ARRAYS,
        weights=("inception-fid",),
    )
    yield mtbench.ExtractorSpec(
        "inception-imagenet",
        "mtbench_plugins.extractors.inception_extractors:InceptionImagenet",
        description="torchvision's Inception v3, trained on ImageNet",
        citation=_SZEGEDY,
        licence="BSD-3-Clause",
        params={**_convention("inception-imagenet"), "weights": _weights()},
        arrays=_ARRAYS,
        weights=("inception-imagenet",),
    )
    yield mtbench.ExtractorSpec(
        "inception-random",
        "mtbench_plugins.extractors.inception_extractors:InceptionRandom",
        description="the FID network with seeded random weights, for testing without a download",
        params={
            **_convention("inception-random"),
            "seed": mtbench.Param(0, minimum=0, help="seed of the weights"),
        },
        arrays=_ARRAYS,
        caveat="random features: not FID, not comparable",
    )
