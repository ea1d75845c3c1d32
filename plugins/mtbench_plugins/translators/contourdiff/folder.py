"""Where the original's training keeps its network: a folder written by ``save_pretrained`` of diffusers."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"
SAVED = "diffusion_pytorch_model.safetensors"
NAMES = (SAVED, "diffusion_pytorch_model.bin")
"""Files of weights, the preferred first."""


def locate(path: Path) -> Path | None:
    """The weight file that ``path`` means; ``None`` if there is none.

    Args:
        path: the folder of a pipeline (``model_epoch_400``), its folder ``unet``, or the weight file.
    """
    if path.is_file():
        return path
    files = [folder / name for folder in (path / "unet", path) for name in NAMES]
    return next((file for file in files if file.is_file()), None)
