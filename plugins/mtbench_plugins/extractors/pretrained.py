"""Feature networks whose weights are the user's own file: their names and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mtbench

_CLASSES = "mtbench_plugins.extractors.pretrained_extractors"
_HOW = "checked by names, shapes and preprocessing, not with the published weights"


def _params(file: str) -> dict[str, Any]:
    return {
        "weights": mtbench.Param(None, kind="path", role="weights", required=True, help=f"the weight file, {file}"),
        "quantise": mtbench.Param(True, help="round to 8-bit levels first"),
    }


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    """The extractors ``dinov2-vitl14``, ``clip-vitl14-336`` and ``radimagenet-resnet50``."""
    yield mtbench.ExtractorSpec(
        "dinov2-vitl14",
        f"{_CLASSES}:DinoV2",
        description=f"DINOv2 ViT-L/14 at 224 pixels, as dgm-eval uses it; your own weight file ({_HOW})",
        citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
        licence="Apache-2.0",
        params=_params("dinov2_vitl14_pretrain.pth"),
    )
    yield mtbench.ExtractorSpec(
        "clip-vitl14-336",
        f"{_CLASSES}:Clip",
        description=f"CLIP's image tower ViT-L/14 at 336 pixels, as CMMD uses it; your own weight file ({_HOW})",
        citation="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        licence="MIT",
        params=_params("model.safetensors or pytorch_model.bin of openai/clip-vit-large-patch14-336"),
    )
    yield mtbench.ExtractorSpec(
        "radimagenet-resnet50",
        f"{_CLASSES}:RadImageNet",
        description=f"ResNet-50 trained on RadImageNet (CT, MRI, ultrasound); your own weight file ({_HOW})",
        citation="Mei et al., RadImageNet: An Open Radiologic Deep Learning Research Dataset for Effective Transfer "
        "Learning, Radiology: Artificial Intelligence 2022",
        licence="weights on request; terms from the authors",
        params=_params("ResNet50.pt of RadImageNet_pytorch"),
    )
