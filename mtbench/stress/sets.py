"""Damage to the set: each image is a good one, of another slice.

Each function returns, for every candidate, the position of the image shown in its place: below N a candidate, from N on
a training slice of the target domain. The generator gives the same numbers at every strength.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.stress.appearance import Rng
from mtbench.stress.pixels import Floats

Positions = NDArray[np.int64]


def shuffle(candidates: Floats, training: Floats, strength: float, rng: Rng) -> Positions:
    """So large a share of the candidates exchanged among each other: the set stays the same."""
    count = len(candidates)
    shown, chosen = np.arange(count), _chosen(count, strength, rng)
    shown[chosen] = np.roll(chosen, 1)
    return shown


def other_patients(candidates: Floats, training: Floats, strength: float, rng: Rng) -> Positions:
    """So large a share of the candidates replaced by real training slices, of other patients, none of them twice.

    Raises:
        DataError: there are fewer training slices than candidates to replace.
    """
    count = len(candidates)
    chosen, order = _chosen(count, strength, rng), rng.permutation(len(training))
    if len(chosen) > len(order):
        raise DataError(
            f"{len(chosen)} candidates are to be replaced, and there are {len(order)} target training slices",
            where="operator 'other-patients'",
            remedy="Set --slices lower, or choose smaller strengths",
        )
    shown = np.arange(count)
    shown[chosen] = count + order[: len(chosen)]
    return shown


def memorised(candidates: Floats, training: Floats, strength: float, rng: Rng) -> Positions:
    """So large a share of the candidates replaced by the training slice that is most like each.

    Raises:
        DataError: there is no training slice.
    """
    count = len(candidates)
    if not len(training):
        raise DataError("there are no target training slices", where="operator 'memorised'")
    chosen = _chosen(count, strength, rng)
    ours, theirs = _thumbnails(candidates)[chosen], _thumbnails(training)
    squares = (ours**2).sum(1)[:, None] - 2 * ours @ theirs.T + (theirs**2).sum(1)
    shown = np.arange(count)
    shown[chosen] = count + squares.argmin(1)
    return shown


def collapse(candidates: Floats, training: Floats, strength: float, rng: Rng) -> Positions:
    """Only so many different candidates, shown again and again; 0 stands for all of them.

    Raises:
        DataError: there are fewer candidates than that.
    """
    count, kept = len(candidates), round(strength)
    if kept > count:
        raise DataError(
            f"a collapse to {kept} images was asked for, and there are {count} candidates",
            where="operator 'collapse'",
            expected=f"whole numbers from 1 to {count}",
        )
    order = rng.permutation(count)
    shown = np.arange(count)
    shown[order] = order[np.arange(count) % (kept or count)]
    return shown


def _chosen(count: int, share: float, rng: Rng) -> Positions:
    return np.asarray(rng.permutation(count)[: round(share * count)], np.int64)


def _thumbnails(images: Floats) -> NDArray[np.float64]:
    """Means of 16 x 16 tiles, one row for each image."""
    height, width = (max(1, length // 16) for length in images.shape[-2:])
    cut = images[..., : images.shape[-2] // height * height, : images.shape[-1] // width * width]
    tiles = cut.reshape(len(images), -1, cut.shape[-2] // height, height, cut.shape[-1] // width, width)
    return np.asarray(tiles.mean(axis=(3, 5)).reshape(len(images), -1), np.float64)
