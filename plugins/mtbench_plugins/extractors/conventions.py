"""How images are resized and scaled for the Inception networks: the conventions of the published libraries, by name.

Grey levels 0..255 are resized to 299 x 299 and then scaled.

Resizing:

- ``tf1``: TensorFlow 1's bilinear (output pixel i reads at i * in / out, without half a pixel), as in the published FID
and torch-fidelity.
- ``bilinear``: half-pixel bilinear without antialiasing, as in pytorch-fid.
- ``clean``: bicubic (a = -0.5), with antialiasing when shrinking, in floating point, clipped to 0..255, as in
clean-fid.

Scaling: ``tf`` is (x - 128) / 128, ``symmetric`` is x / 127.5 - 1.

Quantising: the libraries take 8-bit images. With ``quantise`` every pixel is first rounded to the nearest 8-bit level,
which is exact for 8-bit images and drops the lower byte of 16-bit ones. Without it the full depth is used, and the
score is not comparable with any other library.
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
"""The defaults of each library."""

DEFAULTS: Mapping[str, Convention] = MappingProxyType(
    {"inception-fid": PUBLISHED, "inception-random": PUBLISHED, "inception-imagenet": IMAGENET}
)
"""Of the extractors of this package, by name."""
