"""NumPy's files, NPY and NPZ: first the header, then no more bytes than it announces. Pickles are refused."""

from __future__ import annotations

import math
import zipfile
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mtbench.errors import DataError, shorten
from mtbench.formats.content import content
from mtbench.formats.limits import check_announced, check_size


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an NPY file.

    Raises:
        DataError: it announces more than the limits or than the file holds.
        OSError, ValueError: not an NPY file, or a pickle.
    """
    raw = content(path)
    return _array(BytesIO(raw), len(raw), str(path))


def read_npz(path: Path, name: str) -> NDArray[Any]:
    """The only array of an NPZ file, or the one named ``name``.

    Raises:
        DataError: as :func:`read_npy`, or several arrays and none of that name.
        OSError, ValueError: not an NPZ file, or a pickle.
    """
    with zipfile.ZipFile(BytesIO(content(path))) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        only = next(iter(members.values())) if len(members) == 1 else members.get(name)
        if only is None:
            names = [shorten(name) for name in list(members)[:8]] + ["..."] * (len(members) > 8)
            raise DataError(
                f"this archive holds {', '.join(names) or 'no arrays'}",
                where=str(path),
                expected=f"one array, or one named '{name}'",
            )
        with archive.open(only) as stream:
            return _array(stream, only.file_size, str(path))


def member_name(path: Path) -> str:
    """The name of the image in an NPZ file."""
    with zipfile.ZipFile(BytesIO(content(path))) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    return names[0] if len(names) == 1 else "image"


def _array(stream: IO[bytes], size: int, where: str) -> NDArray[Any]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which mtbench never loads")
    check_size(shape, where)
    announced = math.prod(shape) * dtype.itemsize
    check_announced(announced, size - stream.tell(), where)
    # The length in the file may be wrong too: read no more than there is.
    data = stream.read(announced)
    check_announced(announced, len(data), where)
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
