"""How images are brought to the Inception networks, by name: the conventions of the published libraries.

An image's grey levels 0..255 are resized to 299 x 299 and then scaled.

Resizing:

- ``tf1``: TensorFlow 1's bilinear (output pixel i reads at i * in / out, without half a pixel), as the
  published FID does and torch-fidelity after it.
- ``bilinear``: half-pixel bilinear without smoothing, as pytorch-fid.
- ``clean``: bicubic (a = -0.5), smoothed when it shrinks, in floating point, cut off to 0..255, as clean-fid.

Scaling: ``tf`` is (x - 128) / 128, ``symmetric`` is x / 127.5 - 1.

Quantising: the libraries take 8-bit images. With ``quantise`` every pixel is rounded to its nearest 8-bit
level first, which is exact for what is stored as 8 bits and loses the lower half of 16-bit images; without it
their full depth enters, a number that no other library gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Convention = Mapping[str, Any]

RESIZINGS = ("tf1", "bilinear", "clean")
SCALINGS = ("tf", "symmetric")

PUBLISHED: Convention = MappingProxyType({"resize": "tf1", "scaling": "tf", "quantise": True})
"""Of the FID network as its authors used it (Heusel et al. 2017)."""

IMAGENET: Convention = MappingProxyType({"resize": "bilinear", "scaling": "symmetric", "quantise": True})
"""Of torchvision's ImageNet weights, whose normalisation and input transform cancel to x / 127.5 - 1."""

PRESETS: Mapping[str, Convention] = MappingProxyType(
    {
        "torch-fidelity": PUBLISHED,
        "pytorch-fid": MappingProxyType({"resize": "bilinear", "scaling": "symmetric", "quantise": True}),
        "clean-fid": MappingProxyType({"resize": "clean", "scaling": "tf", "quantise": True}),
    }
)
"""What each library does by default."""

DEFAULTS: Mapping[str, Convention] = MappingProxyType(
    {"inception-fid": PUBLISHED, "inception-random": PUBLISHED, "inception-imagenet": IMAGENET}
)
"""Of the extractors of this package, by name."""
