"""The values of an uncompressed volume, read from the file block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError

Conversion = Callable[[NDArray[Any]], NDArray[Any]]
"""Of values as in the file to values as they are used, one by one; the dtype of the result does not depend on them."""

_SLAB = 1 << 22
"""Values that are read and converted at once."""


def unchanged(values: NDArray[Any]) -> NDArray[Any]:
    """The conversion that does nothing."""
    return values


@dataclass(frozen=True)
class Stored:
    """A lazy array of three axes, the first of which is the fastest in the file.

    ``transpose`` and the reversal of axes give another ``Stored``, as they give a view of an array. A range of the
    first axis, ``stored[10:20]``, reads and converts these values only, one slab of 16 MiB (as float32) at a time;
    ``np.asarray`` reads all. If the first axis is not the slowest in the file, every range reads the whole file:
    take as many at once as memory allows.

    Attributes:
        source: the file, or its content.
        offset: bytes before the first value.
        kind: the dtype in the file.
        sizes: of the axes in the file, fastest first.
        convert: applied to what is read.
        order: the axis of the file that each axis of this view is.
        flips: whether each axis of this view is reversed.
    """

    source: Path | bytes
    offset: int
    kind: np.dtype[Any]
    sizes: tuple[int, int, int]
    convert: Conversion
    order: tuple[int, ...] = (0, 1, 2)
    flips: tuple[bool, ...] = (False, False, False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of this view."""
        return tuple(self.sizes[axis] for axis in self.order)

    @property
    def ndim(self) -> int:
        """Three."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.sizes)

    def __len__(self) -> int:
        return self.shape[0]

    def then(self, convert: Conversion) -> Stored:
        """The same values after one more conversion."""
        before = self.convert
        return replace(self, convert=lambda values: convert(before(values)))

    def transpose(self, axes: tuple[int, ...] | list[int]) -> Stored:
        """Another order of axes, as ``ndarray.transpose``."""
        return replace(self, order=tuple(self.order[a] for a in axes), flips=tuple(self.flips[a] for a in axes))

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Any:
        """Another view for whole axes, each forwards or backwards; the values for a range of the first axis."""
        keys = key if isinstance(key, tuple) else (key,)
        keys += (slice(None),) * (self.ndim - len(keys))
        if all(k.start is None and k.stop is None and k.step in (None, 1, -1) for k in keys):
            backwards = (flip != (k.step == -1) for flip, k in zip(self.flips, keys, strict=True))
            return replace(self, flips=tuple(backwards))
        start, stop, step = keys[0].indices(len(self))
        if step != 1:
            raise IndexError("only ranges without a step can be read")
        return self._range(start, max(start, stop))[(slice(None), *keys[1:])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if isinstance(self.source, Path):
            return np.asarray(self._range(0, len(self)), dtype)
        values = np.frombuffer(self.source, self.kind, self.size, self.offset).reshape(self.sizes, order="F")
        return np.asarray(self._seen(self.convert(values)), dtype)

    def parts(self) -> Iterator[NDArray[Any]]:
        """All values as in the file, a slab at a time."""
        return (raw for _, raw in self._slabs(0, self.sizes[2]))

    def _range(self, start: int, stop: int) -> NDArray[Any]:
        """Values of a range of the first axis, as this view shows them."""
        axis, length = self.order[0], len(self)
        if start == stop:
            return self._range(0, 1)[:0]  # of the right dtype
        low, high = (length - stop, length - start) if self.flips[0] else (start, stop)
        slowest = axis == 2
        result: NDArray[Any] | None = None
        for place, raw in self._slabs(low, high) if slowest else self._slabs(0, self.sizes[2]):
            values = self.convert(raw if slowest else raw.take(range(low, high), axis))
            if result is None:
                sizes = (*values.shape[:2], high - low if slowest else self.sizes[2])
                result = np.empty(sizes, values.dtype, order="F")
            first = place - low if slowest else place
            result[:, :, first : first + values.shape[2]] = values
        assert result is not None
        return self._seen(result)

    def _seen(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values in the order of the file, as this view shows them."""
        return values.transpose(self.order)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def _slabs(self, low: int, high: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Places along the slowest axis, and the values as in the file from there on."""
        plane = self.sizes[0] * self.sizes[1]
        step = max(1, _SLAB // plane)
        for start in range(low, high, step):
            sizes = (*self.sizes[:2], min(step, high - start))
            count, offset = math.prod(sizes), self.offset + start * plane * self.kind.itemsize
            if isinstance(self.source, Path):
                values = _from_file(self.source, self.kind, count, offset)
            else:
                values = np.frombuffer(self.source, self.kind, count, offset)
            yield start, values.reshape(sizes, order="F")


def _from_file(path: Path, kind: np.dtype[Any], count: int, offset: int) -> NDArray[Any]:
    try:
        values = np.fromfile(path, kind, count, offset=offset)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
    if len(values) < count:
        raise DataError("the file became shorter while it was read", where=str(path), remedy="Copy it again")
    return values
