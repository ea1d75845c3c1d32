"""The extractor ``radiomics``: the features of frd-score's version 1 for 2-D images, computed by mtbench's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtbench import Context
from mtbench_plugins.extractors.radiomics_histogram import histogram_features
from mtbench_plugins.extractors.radiomics_images import (
    STEP,
    Mask,
    check,
    filtered,
    levels,
    normalised,
    sampled,
    sampled_mask,
)
from mtbench_plugins.extractors.radiomics_neighbours import cooccurrence_features, neighbourhood_features
from mtbench_plugins.extractors.radiomics_regions import run_features, zone_features

if TYPE_CHECKING:
    import torch


def features(image: NDArray[Any], laplacian: bool = False) -> dict[str, float]:
    """The features of one image, by pyradiomics' names.

    Nine describe the whole image, before and after preparation: those of the library's diagnostics that frd-score keeps
    and that differ between images of one size. They are followed by 77 for each filtered image (18 first order, 22
    GLCM, 16 GLRLM, 16 GLSZM, 5 NGTDM).

    They agree with pyradiomics 3.0 to 1e-6 of their value, with two deliberate differences. First-order features in the
    unit of the values are rounded to four decimal places. If much of an image is flat, texture and entropy of the
    high-pass sub-bands differ, mostly by less than 0.1 %, some by several per cent or more: see
    :mod:`mtbench_plugins.extractors.radiomics_images`.

    Args:
        image: H x W, grey levels 0..255.
        laplacian: add Laplacian-of-Gaussian images.

    Raises:
        DataError: a side shorter than 8 pixels, or values that are not finite.
    """
    pixels = image.astype(np.float64)
    check(pixels)
    prepared = sampled(normalised(pixels))
    result: dict[str, float] = {}
    for name, values in (
        ("Image-original", pixels),
        ("Image-interpolated", prepared),
        # The library's mask covers every sampled pixel. The feature occurs twice there, so it counts twice in its
        # distance.
        ("Mask-interpolated", prepared),
    ):
        result[f"diagnostics_{name}_Minimum"] = float(values.min())
        result[f"diagnostics_{name}_Maximum"] = float(values.max())
        result[f"diagnostics_{name}_Mean"] = float(values.mean())
    return result | _of_filtered(prepared, laplacian, None)


def region_features(image: NDArray[Any], mask: Mask) -> dict[str, float]:
    """The features of the pixels of a mask: darkest, brightest and mean value, and 77 for each filtered image.

    The image is normalised and filtered as a whole, as pyradiomics does with ``normalize``, and not cropped around the
    mask before it is filtered, which pyradiomics does.

    Args:
        image: H x W, grey levels 0..255.
        mask: H x W; at least two neighbouring pixels of it must be left after every second pixel is sampled.

    Raises:
        DataError: a side shorter than 8 pixels, or values that are not finite.
    """
    pixels = image.astype(np.float64)
    check(pixels)
    prepared, inside = sampled(normalised(pixels)), sampled_mask(mask)
    values = prepared[inside]
    diagnostics = {"Minimum": values.min(), "Maximum": values.max(), "Mean": values.mean()}
    result = {f"diagnostics_Mask-interpolated_{name}": float(value) for name, value in diagnostics.items()}
    return result | _of_filtered(prepared, False, inside)


def _of_filtered(prepared: NDArray[np.float64], laplacian: bool, mask: Mask | None) -> dict[str, float]:
    """The features of each filtered image, of all pixels or those of a mask."""
    result: dict[str, float] = {}
    for kind, values in filtered(prepared, laplacian):
        binned = levels(values, mask)
        inside = values.ravel() if mask is None else values[mask]
        counts = np.bincount(binned.ravel())
        counts[0] = 0  # outside of the mask
        shares = counts[counts > 0] / inside.size
        for family, some in (
            ("firstorder", histogram_features(inside, shares, float(STEP**2))),
            ("glcm", cooccurrence_features(binned)),
            ("glrlm", run_features(binned)),
            ("glszm", zone_features(binned)),
            ("ngtdm", neighbourhood_features(binned)),
        ):
            result.update({f"{kind}_{family}_{name}": float(value) for name, value in some.items()})
    return result


class Radiomics:
    """Radiomic features of grey images.

    Args:
        laplacian: add Laplacian-of-Gaussian images of sigma 2, 3, 4 and 5 pixels.
    """

    def __init__(self, laplacian: bool = False) -> None:
        self._laplacian = laplacian

    def extract(self, images: torch.Tensor, context: Context) -> dict[str, torch.Tensor]:
        """Features of a batch, image by image on the CPU.

        Args:
            images: float32 B x 1 x H x W in [0, 1], taken as grey levels 0..255.

        Returns:
            ``features``: float32 B x 394, or B x 702 with ``laplacian``, finite for every image; see
            :func:`features`. A constant image has the features of a flat region.

        Raises:
            DataError: a side shorter than 8 pixels, or values that are not finite.
        """
        import torch

        levels_255 = images[:, 0].float().cpu().numpy() * np.float32(255)
        rows = [list(features(image, self._laplacian).values()) for image in levels_255]
        return {"features": torch.tensor(rows, dtype=torch.float32)}
