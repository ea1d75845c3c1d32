"""A selection of a file's images, in any order, read on demand."""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray


class Rows(NDArrayOperatorsMixin):
    """A lazy ``array[indices]`` for images that are scattered in a memory map.

    Indexing returns NumPy arrays with the indexed images. All other operations work as for the whole array and read all
    of it: operators, NumPy's functions, ``np.asarray``, methods such as ``mean``. Read-only.

    Args:
        array: N x ..., usually a memory map, or :class:`OnDisk`.
        indices: positions among the N, in any order; repeats allowed.
    """

    def __init__(self, array: NDArray[Any] | OnDisk, indices: Sequence[int] | NDArray[Any]) -> None:
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
        """``array[indices]``, for an array or for ``Rows``; type checkers see an array."""
        positions = np.asarray(indices, dtype=np.int64)
        if isinstance(array, Rows):
            array, positions = array.array, array.indices[positions]
        consecutive = len(positions) and positions[0] >= 0 and (np.diff(positions) == 1).all()
        if consecutive and not isinstance(array, OnDisk):
            # A memory map handles a range lazily too.
            return array[positions[0] : positions[-1] + 1]
        return cast("NDArray[Any]", Rows(array, positions))


class OnDisk:
    """An array in a .npy file that is mapped at each access and no longer.

    The pages of a memory map that have been read count as the process's memory until the map is closed, so reading all
    images through one takes as much memory as they have.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        mapped: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        self._offset = mapped.offset
        self.shape, self.dtype, self.ndim = mapped.shape, mapped.dtype, mapped.ndim
        # Open, so that the images stay readable if the file is removed.
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)

    def __getitem__(self, key: Any) -> Any:
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.array(np.ndarray(self.shape, self.dtype, mapped, self._offset)[key])

    @property
    def images(self) -> NDArray[Any]:
        """All of them, as :class:`Rows`; type checkers see an array."""
        return cast("NDArray[Any]", Rows(self, np.arange(len(self))))

    def __len__(self) -> int:
        return int(self.shape[0])
