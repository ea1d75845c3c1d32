"""Single DICOM files as written by scanners, archives and anonymisers: recognising and opening."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.limits import IMAGE, inflate, limit, too_large

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First bytes of the file meta information, of the identification, and of the latter in big endian."""
_EXPLICIT = (b"UL", b"OB", b"UI", b"CS", b"LO", b"SH", b"DA", b"TM", b"DT", b"LT", b"SQ", b"ST", b"UT", b"IS", b"AE")
_MAX_ELEMENT = 0x0103
_MAX_LENGTH = 1 << 10


def looks_like_dicom(file: Path) -> bool:
    """Whether a file starts like DICOM, with the standard's preamble or, as in some exports, without it."""
    with file.open("rb") as stream:
        start = stream.read(132)
    if start[128:] == b"DICM":
        return True
    if len(start) < 132 or start[:2] not in _FIRST_GROUPS:
        return False
    order: Any = "big" if start[:2] == b"\x00\x08" else "little"
    if int.from_bytes(start[2:4], order) > _MAX_ELEMENT:
        return False
    # Implicit: the length of the first value, a small even number, is in the place of the value's type.
    length = int.from_bytes(start[4:8], order)
    return start[4:6] in _EXPLICIT or (length % 2 == 0 and length <= _MAX_LENGTH)


def open_dicom(file: Path) -> Any:
    """The data set of a file, with or without preamble, its transfer syntax known.

    Raises:
        DataError: it is not a DICOM file, or decompresses to more than the limit.
        Exception: whatever pydicom raises for a damaged one.
    """
    import pydicom
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    raw = content(file)
    if _DEFLATED in raw[:1024]:
        _check_deflated(raw, file)
    item = pydicom.dcmread(BytesIO(raw), force=True)
    if "Rows" not in item and "SOPClassUID" not in item:
        raise DataError("this is not a DICOM file", where=str(file), remedy="Remove it from the series folder")
    if "TransferSyntaxUID" not in item.file_meta:
        implicit, little = item.original_encoding
        item.ensure_file_meta()
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        item.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return item


def _check_deflated(raw: bytes, file: Path) -> None:
    """Refuse a file in the deflated transfer syntax that holds more than an image, because pydicom would decompress
    all.
    """
    # The length of the file meta information, which is never compressed, follows the preamble.
    start = 144 + int.from_bytes(raw[140:144], "little")
    most = 2 * limit(IMAGE)
    try:
        size = len(inflate(raw[start:], most + 1, "deflate"))
    except (OSError, zlib.error):
        return  # the reader reports what is wrong with it
    if size > most:
        raise too_large(f"it decompresses to more than {most:,} bytes", IMAGE, str(file))
