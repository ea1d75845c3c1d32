"""The orientation convention: volumes are in RAS+, and planes are cut from them upright.

RAS+ (as in nibabel): the first array axis runs towards the patient's right, the second towards anterior, the
third towards superior. Planes are displayed in the radiological convention:

=========  ==============================  ====================  =====================================
plane      slices run                      rows run              columns run
=========  ==============================  ====================  =====================================
axial      inferior to superior            anterior to post.     right to left (patient's right is left)
coronal    posterior to anterior           superior to inferior  right to left
sagittal   left to right                   superior to inferior  anterior to posterior (front is left)
=========  ==============================  ====================  =====================================

``to_ras`` and ``upright`` return views, so writing into ``upright(to_ras(array, axes), plane)`` writes into ``array``:
this puts a translated slice back into its volume.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError

Plane = Literal["axial", "coronal", "sagittal"]

PLANES: dict[Plane, tuple[int, int, int]] = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""For each plane the RAS+ axis of its slices, rows and columns."""

_PAIRS = ("RL", "AP", "SI")


def axis_codes(affine: NDArray[Any], where: str) -> str:
    """The direction of each array axis, as letters ("PIR"); an oblique axis counts as the nearest one.

    Args:
        affine: 4 x 4, index to RAS millimetres.

    Raises:
        DataError: the affine is singular or not finite.
    """
    from nibabel.orientations import aff2axcodes

    matrix = np.asarray(affine, dtype=np.float64)
    usable = bool(np.isfinite(matrix).all())
    if usable:
        # Only directions are tested: microscope voxels can be a billionth of a cubic millimetre.
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        usable = bool((lengths > 1e-9).all() and (lengths < 1e9).all())
        usable = usable and abs(np.linalg.det(matrix[:3, :3] / lengths)) > 1e-6
    codes = aff2axcodes(matrix) if usable else (None,)
    if None in codes:
        raise DataError(
            "its orientation matrix is singular or not finite",
            where=where,
            expected="an affine with three independent axes",
            remedy="Repair the header with the tool that wrote the file",
        )
    return "".join(str(c) for c in codes)


def three_axes(array: NDArray[Any], where: str) -> NDArray[Any]:
    """A volume of three axes; trailing axes of length 1 are dropped, a missing third one is added.

    Raises:
        DataError: it has more.
    """
    three_sizes(array.shape, where)
    while array.ndim > 3:
        array = array[..., 0]
    return array[..., None] if array.ndim == 2 else array


def three_sizes(shape: Iterable[int], where: str) -> tuple[int, int, int]:
    """The sizes of :func:`three_axes`.

    Raises:
        DataError: there are more than three.
    """
    sizes = [int(size) for size in shape]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) == 2:
        sizes.append(1)
    if len(sizes) != 3:
        text = " x ".join(map(str, sizes))
        raise DataError(f"its shape is {text}", where=where, expected="one volume of three dimensions")
    return sizes[0], sizes[1], sizes[2]


def to_ras(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """A view of ``array`` (three axes that point to ``axes``) in RAS+."""
    order, flips = _moves(axes)
    return array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def ras_affine(affine: NDArray[Any], axes: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The affine of ``to_ras(array, axes)``, from the affine and the shape of ``array``."""
    order, flips = _moves(axes)
    result = np.array(affine, dtype=np.float64)
    for to, (of, flip) in enumerate(zip(order, flips, strict=True)):
        column = np.asarray(affine, dtype=np.float64)[:, of]
        result[:, to] = -column if flip else column
        if flip:
            result[:, 3] += column * (shape[of] - 1)
    return result


def upright(ras: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """A view of a RAS+ volume as slices x rows x columns, oriented as described above."""
    return ras.transpose(PLANES[plane])[:, ::-1, ::-1]


def _moves(axes: str) -> tuple[list[int], list[bool]]:
    order = [next(i for i, letter in enumerate(axes) if letter in pair) for pair in _PAIRS]
    return order, [axes[i] == pair[1] for i, pair in zip(order, _PAIRS, strict=True)]
