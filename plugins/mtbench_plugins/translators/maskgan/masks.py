"""MaskGAN's coarse masks, computed from the images, and pairing by slice position."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mtbench import ImageSet, Slice
from mtbench.data import decode

THRESHOLD = 10 / 255
"""Grey value above which a pixel is anatomy; the original's for MR."""
AIR = -250.0
"""HU above which a pixel is anatomy; the original's 50 of 255 between -800 and 2000."""
DILATION = 10 / 224
"""Dilation as a share of the longer side; the original's 10 pixels of 224."""


def backgrounds(images: ImageSet, threshold: float | None = None, dilation: int | None = None) -> NDArray[np.uint8]:
    """Coarse background masks: 1 on background, 0 on anatomy.

    Slice by slice: threshold, opening with a 3 x 3 cross, filling of holes; case by case: the largest connected
    component, so that anatomy in two pieces in one slice survives if another slice joins them; slice by slice:
    dilation. The original works on volumes resampled to 1 mm; slices need not form volumes, so opening, filling and
    dilation are two-dimensional here.

    Args:
        images: the slices of one domain.
        threshold: grey value in [0, 1] above which a pixel is anatomy; by default 10/255, or -250 HU if the slice has a
            window in HU.
        dilation: pixels by which anatomy is grown; by default 10/224 of the longer side.

    Returns:
        uint8, N x H x W, in the order of ``images``.
    """
    grown = round(DILATION * max(images.size)) if dilation is None else dilation
    cross = ndimage.generate_binary_structure(2, 1)
    masks = np.empty(images.images.shape, dtype=np.uint8)
    for positions in _cases(images.slices):
        level = [threshold if threshold is not None else level_of(images.slices[i]) for i in positions]
        body = decode(np.asarray(images.images[positions])) > np.array(level, dtype=np.float32)[:, None, None]
        for plane in body:
            plane[:] = ndimage.binary_fill_holes(ndimage.binary_opening(plane, cross))
        body = _largest(body)
        if grown:
            body = ndimage.binary_dilation(body, cross[None], iterations=grown)
        masks[positions] = ~body
    return masks


def level_of(item: Slice) -> float:
    """The default threshold of one slice."""
    if item.measure_unit == "HU" and item.window is not None:
        low, high = item.window
        return max(THRESHOLD, (AIR - low) / (high - low))
    return THRESHOLD


def positions(slices: tuple[Slice, ...]) -> NDArray[np.float64]:
    """Where each slice lies in its case, in percent from first to last; 0 for a case of one slice."""
    where = np.zeros(len(slices))
    for members in _cases(slices):
        index = np.array([slices[i].index for i in members], dtype=np.float64)
        span = index.max() - index.min()
        where[members] = 100 * (index - index.min()) / span if span else 0.0
    return where


def _cases(slices: tuple[Slice, ...]) -> list[list[int]]:
    """The positions of each case's slices, in the order of their index."""
    members: dict[str, list[int]] = defaultdict(list)
    for position, item in enumerate(slices):
        members[item.case_id].append(position)
    return [sorted(positions, key=lambda i: slices[i].index) for positions in members.values()]


def _largest(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, n = ndimage.label(body)
    if n < 2:
        return body
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = parts == sizes.argmax()
    return largest
