"""What OpenCV, scikit-image and diffusers compute, which ContourDiff's original calls, on inputs from formulas.

``contourdiff_originals.json`` holds the figures. To write it anew::

    pip install --target LIBRARIES opencv-python-headless diffusers
    PYTHONPATH=LIBRARIES python tests/contourdiff_originals.py
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from originals import image, with_weights
from torch import Tensor

from mtbench import Slice
from mtbench.compute.context import Context
from mtbench.data import Task

FILE = Path(__file__).with_suffix(".json")
THRESHOLDS = ((80, 150), (30, 50), (20.7, 90.2), (150, 80))
SIZES = {"in_channels": 2, "out_channels": 1, "sample_size": 32, "block_out_channels": [8, 8, 16]}
BLOCKS = {
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
SEED, STEPS, TIMES = 11, 5, (980, 500, 20, 0)
RATES = (0, 1, 250, 499, 500, 501, 1250, 1999)
"""Steps of a fit of 2000 with 500 of warm-up."""


def pictures() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Grey images from integer formulas, so that every machine has the same: name, H x W uint8."""
    for name, (height, width) in {"square": (96, 96), "wide": (61, 130), "strip": (5, 40)}.items():
        rows, columns = np.mgrid[:height, :width]
        yield f"{name} texture", ((rows * 37 + columns * 101) ^ (rows * columns)).astype(np.uint8)
        yield f"{name} waves", ((rows * rows + 3 * columns * columns) // 16 % 256).astype(np.uint8)
        discs = np.zeros((height, width), np.int64)
        for k in range(6):
            row, column, radius = (k * 29 + 11) % height, (k * 53 + 23) % width, 5 + 3 * k
            discs += (40 + 13 * k) * ((rows - row) ** 2 + (columns - column) ** 2 < radius * radius)
        yield f"{name} discs", (discs % 256).astype(np.uint8)


def facts(array: NDArray[Any]) -> dict[str, Any]:
    """A sum and a hash of an array of bytes."""
    return {"sum": int(array.sum()), "sha256": hashlib.sha256(array.astype(np.uint8).tobytes()).hexdigest()[:32]}


def packed(contours: NDArray[Any]) -> str:
    """A map of zeros and others, bit by bit."""
    return base64.b64encode(np.packbits(contours > 0).tobytes()).decode()


def sample(values: Tensor) -> list[float]:
    """Every seventh value."""
    return [round(float(value), 7) for value in values.flatten()[::7]]


def draws(step: int) -> tuple[Tensor, Tensor, Tensor]:
    """A noisy image, the noise predicted in it, and fresh noise; 1 x 1 x 12 x 12."""
    x, predicted = (2.0 * image((1, 1, 12, 12), SEED, f"{name} {step}") for name in ("x", "predicted"))
    return x, predicted, torch.randn(x.shape, generator=torch.Generator().manual_seed(step))


def source() -> NDArray[np.uint8]:
    """The slice of the whole translation, 32 x 32."""
    return next(pixels for name, pixels in pictures() if name == "square discs")[:32, :32]


def context() -> Context:
    """With the noise of the whole translation."""
    return Context(task=Task("toy"), seed=3, threads=1)


SLICE = Slice("s0", "p0", "c0")


def contours() -> dict[str, Any]:
    """By OpenCV and scikit-image."""
    import cv2
    from skimage import filters, morphology

    figures: dict[str, Any] = {"opencv": cv2.__version__}
    for name, pixels in pictures():
        blurred = cv2.GaussianBlur(pixels, (3, 3), 0)
        figures[f"{name} input"], figures[f"{name} blurred"] = facts(pixels), facts(blurred)
        for low, high in THRESHOLDS:
            figures[f"{name} {low} {high}"] = facts(cv2.Canny(blurred, low, high) > 0)
        # Smaller than min_size and area_threshold means removed, as in the releases before 0.26.
        bright = morphology.binary_erosion(pixels > filters.threshold_multiotsu(pixels, classes=2))
        keep = morphology.remove_small_objects(bright, max_size=60 - 1)
        keep = morphology.remove_small_holes(keep, max_size=20 - 1)
        figures[f"{name} without artefacts"] = facts(np.multiply(pixels, keep))
    blurred = cv2.GaussianBlur(dict(pictures())["square discs"], (3, 3), 0)
    return {**figures, "square discs packed": packed(cv2.Canny(blurred, 80, 150))}


def network() -> tuple[Any, dict[str, Any]]:
    """A small network of diffusers with weights from their names, and its figures."""
    from diffusers import UNet2DModel, __version__

    net = with_weights(UNet2DModel(layers_per_block=2, norm_num_groups=4, **SIZES, **BLOCKS).eval(), SEED)
    figures = {
        "diffusers": __version__,
        "config": dict(net.config),
        "shapes": {name: list(value.shape) for name, value in net.state_dict().items()},
    }
    with torch.no_grad():
        for step in (0, 17, 999):
            figures[f"output {step}"] = sample(net(image((1, 2, 16, 24), SEED, "input"), step).sample)
    return net, figures


def schedulers() -> dict[str, Any]:
    """Single steps of both samplers, added noise, and learning rates."""
    from diffusers import DDIMScheduler, DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup

    figures: dict[str, Any] = {}
    for name, kind in {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}.items():
        scheduler = kind(num_train_timesteps=1000)
        scheduler.set_timesteps(50)
        figures[f"{name} times"] = scheduler.timesteps.tolist()
        for step in TIMES:
            x, predicted, _ = draws(step)
            generator = torch.Generator().manual_seed(step)
            figures[f"{name} {step}"] = sample(scheduler.step(predicted, step, x, generator=generator).prev_sample)
            clean, noise, _ = draws(step)
            figures[f"noisy {step}"] = sample(scheduler.add_noise(clean, noise, torch.tensor([step])))
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    rate = get_cosine_schedule_with_warmup(optimiser, 500, 2000).lr_lambdas[0]
    return {**figures, "rates": [rate(step) for step in RATES]}


def translation(net: Any) -> str:
    """The loop of the original's ``translation_2d.py`` with DDIM, and its 8-bit image."""
    import cv2
    from diffusers import DDIMScheduler

    contour = torch.from_numpy((cv2.Canny(cv2.GaussianBlur(source(), (3, 3), 0), 80, 150) > 50) * np.float32(1))
    scheduler = DDIMScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(STEPS)
    x = context().noise([SLICE], (1, 32, 32))
    with torch.no_grad():
        for step in scheduler.timesteps:
            predicted = net(torch.cat((x, contour[None, None]), dim=1), step).sample
            x = scheduler.step(predicted, step, x).prev_sample
    shown = (x / 2 + 0.5).clamp(0, 1)[0, 0].numpy()
    levels = np.round((shown - shown.min()) / (shown.max() - shown.min()) * 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode()


if __name__ == "__main__":
    torch.set_num_threads(1)
    net, unet = network()
    recorded = {"contours": contours(), "unet": unet, "schedulers": schedulers(), "translation": translation(net)}
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in recorded.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
