"""Some images of a file, in some order, read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray


class Rows(NDArrayOperatorsMixin):
    """``array[indices]`` that reads nothing by itself: for images that lie scattered in a memory map.

    Indexing gives NumPy arrays with the images asked for. All else works as with the array that it stands for and
    reads the whole: operators, NumPy's functions, ``np.asarray``, methods such as ``mean``. Read-only.

    Args:
        array: N x ..., usually a memory map.
        indices: which of the N, in which order; repeats allowed.
    """

    def __init__(self, array: NDArray[Any], indices: Sequence[int] | NDArray[Any]) -> None:
        self.array = array
        self.indices = np.asarray(indices, dtype=np.int64)
        self.shape = (len(self.indices), *array.shape[1:])
        self.dtype = array.dtype
        self.ndim = array.ndim
        self.size = math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Any) -> Any:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None:
            return np.asarray(self)[key]
        images = self.array[self.indices[first]]
        return images[(slice(None),) * np.ndim(self.indices[first]) + tuple(rest)] if rest else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.array[self.indices], dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(i) if isinstance(i, Rows) else i for i in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("array", "indices"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    @staticmethod
    def of(array: NDArray[Any], indices: Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """``array[indices]``, for an array or for rows of one; to a type checker the array that it stands for."""
        positions = np.asarray(indices, dtype=np.int64)
        if isinstance(array, Rows):
            array, positions = array.array, array.indices[positions]
        if len(positions) and positions[0] >= 0 and (np.diff(positions) == 1).all():
            # A range is a memory map's own business: nothing is read here either.
            return array[positions[0] : positions[-1] + 1]
        return cast("NDArray[Any]", Rows(array, positions))
